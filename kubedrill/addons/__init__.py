"""Add-ons that a static pod keeps as manifests on the control planes say: CoreDNS, kube-proxy, metrics-server.

render.py turns what kubeadm made into manifests, metrics_server.py has that add-on's own, install.py puts them onto a
cluster and takes them off; faults/addons.py is the same as a change that a drill makes and undoes. The program is
images/components/kubedrill/cmd/addon-manager.
"""
