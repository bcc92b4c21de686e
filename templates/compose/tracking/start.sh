#!/bin/sh
# Becomes the supervisor of the machine's folder, with the packages and secrets of this container.
set -eu
cd /var/lib/trackstack
mkdir -p -m 0700 packages data
for folder in /opt/trackstack/packages/*; do
  link=packages/${folder##*/}
  if [ "$(readlink "$link" || true)" != "$folder" ]; then
    rm -rf "$link"
    ln -s "$folder" "$link"
  fi
done
# Those of an image that is no more.
find packages -maxdepth 1 -xtype l -delete
ln -sfn /run/secrets/stores.env data/stores.env
# uv brings certificates of its own; so it also trusts those that a company put into the image.
export TRACKSTACK_WALLS=container UV_SYSTEM_CERTS=1
exec /opt/trackstack/agent/bin/python -P -m trackstack.agent.launcher . /control compose
