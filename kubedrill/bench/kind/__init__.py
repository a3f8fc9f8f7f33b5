"""kind (https://kind.sigs.k8s.io) on this machine, with this project's own binaries: the peer that bench measures.

kind is built from its Go module, its node image from that module's files (read from the module cache, never kept here)
and from the very programs and images that our own nodes have. So what is compared is two ways to bring up the same
Kubernetes. kind with the images that its project publishes would be another thing: other binaries, another network.

Where the two differ from what kind's users get, it is in kind's favour: no storage driver is brought up, flannel is
applied the moment the API answers (kind's own network waits for the end of `kubeadm init`), and no image is pulled.

Where kind cannot run here without help, the help is given, and named in the result:
- An engine that lacks a capability refuses --privileged: a `docker` of our own, first in kind's PATH, gives the flags
  that our own nodes get instead. In its nodes cgroups are mounted again to be written to, /dev/kmsg is a link to
  /dev/null, and without SYS_RESOURCE containerd leaves OOM scores as they are (images/kind/kubedrill-help).
- Envoy's image, which kind puts in front of several control planes, is not to be had: HAProxy has its name meanwhile.
- Under cgroup v1 the kubelet is told to run all the same.
None of it is used on a machine that does not need it.
"""
