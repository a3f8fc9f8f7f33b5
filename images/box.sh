#!/bin/sh
# Turns the files of a node into those of a VM; run in a chroot by kubedrill/images/box.py, with the box's public key as
# its standard input.
set -eu
systemctl --quiet set-default multi-user.target
systemctl --quiet enable containerd.service kubelet.service kubedrill-cni.path kubedrill-cni-first.path kubedrill-boot.service kubedrill-address.service \
    systemd-networkd.service ssh.service
systemctl --quiet disable haproxy.service chrony.service networking.service 2>/dev/null || true
# A laboratory's nodes change when they are told to, and their disk is not theirs to look after.
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service \
    dpkg-db-backup.timer man-db.timer nftables.service systemd-resolved.service systemd-timesyncd.service getty@tty1.service \
    serial-getty@ttyS0.service
# Modules that systemd asks for in case a computer has what they are for.
for module in configfs dm_mod drm efi_pstore fuse loop; do systemctl --quiet mask "modprobe@$module.service"; done
rm -f /etc/machine-id /var/lib/dbus/machine-id /etc/ssh/ssh_host_*
# Empty: each VM gets one at its first boot.
: >/etc/machine-id
mkdir -p /root/.ssh /var/log/journal /opt/kubedrill/stores /etc/kubernetes/manifests
chmod 700 /root/.ssh
cat >/root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
# No password opens it; '*' and not '!', which sshd without PAM takes for an account that is closed.
usermod --password '*' root
cat >/etc/fstab <<'FSTAB'
LABEL=kubedrill / ext4 noatime,noinit_itable 0 0
FSTAB
ln -sf kubedrill/resolv.conf /etc/resolv.conf
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
