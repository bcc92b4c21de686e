# Whether nginx serves, and an MLflow behind it, which starts more slowly. usage: bash healthy.sh PORT
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /livez HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$1" >&3
grep -q '^alive' <&3 || exit 1
# While one is changed for another there are two, and one of them answers.
exec python3 -I -S -c '
import socket, sys

def answers(path):
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(path)
            asked.sendall(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            return b" 200 " in asked.recv(64)
    except OSError:
        return False

sys.exit(not any(map(answers, sys.argv[1:])))
' /var/lib/trackstack/run/mlflow-*.sock
