# Whether the server greets.
exec 3<>/dev/tcp/127.0.0.1/2222 || exit 1
read -r -t 5 greeting <&3
[[ $greeting == SSH-2.0-* ]]
