"""The tutorial's virtual machine, as one start script."""

from trackstack.lock import DEFAULT_MLFLOW

USER, PASSWORD = "ada", "as-the-tutorial-has-it"  # of a machine that lives for minutes
PORT = 443
"""Where it listens, in plain HTTP: the box lets clients reach no other port."""

# As it stands it does not come up on Debian 13: pip refuses to touch the system's packages, and
# cannot remove one of them. Google runs start scripts at each boot: pip has nothing to do then.
# The box's first disk does not write what is to be safe, so the database is on the other, as ours.
START_SCRIPT = f"""#!/bin/sh
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y tmux python3-pip
pip show --quiet mlflow ||
  pip install --break-system-packages --ignore-installed \\
    mlflow=={DEFAULT_MLFLOW} google-cloud-storage
blkid /dev/sdb || mkfs.ext4 -q /dev/sdb
mount /dev/sdb /mnt
cd /mnt
tmux new-session -d "mlflow server --backend-store-uri sqlite:///mlflow.db \\
  --default-artifact-root gs://bucket --host localhost"
apt-get install -y nginx apache2-utils
htpasswd -bc /etc/nginx/.htpasswd {USER} {PASSWORD}
cat >/etc/nginx/sites-available/default <<'END'
server {{
  listen {PORT};
  location / {{
    proxy_pass http://localhost:5000;
    auth_basic "Restricted Content";
    auth_basic_user_file /etc/nginx/.htpasswd;
  }}
}}
END
systemctl restart nginx
"""
