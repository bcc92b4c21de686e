# Whether nginx serves. usage: bash healthy.sh PORT
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /livez HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$1" >&3
grep -q '^alive' <&3
