# Whether JupyterLab answers.
exec 3<>/dev/tcp/127.0.0.1/8888 || exit 1
printf 'GET /api HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
grep -q '"version"' <&3
