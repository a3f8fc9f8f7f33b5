// Command addon-manager keeps a cluster's add-ons as the manifests of a directory say.
//
// It does what Kubernetes' own kube-addon-manager does (cluster/addons/addon-manager in kubernetes/kubernetes), again
// and again, by calling kubectl. The label addonmanager.kubernetes.io/mode of an object says how it is kept:
//
//   - Reconcile: `kubectl apply` of what is missing or differs, so that every field that the file names is put back (a field that it does not name,
//     and whoever added it, is left alone). An object whose manifest is gone is pruned: only one that carries this
//     label and was applied, and only of the kinds of --prune-kinds. A directory that is empty, or that holds a file
//     that cannot be read, prunes nothing.
//   - EnsureExists: created where it is missing. What users change in it stays, and it is never pruned.
//   - without the label, or with another value: refused, with a line in the log.
//
// Of several control planes only one works: the one whose controller manager holds its lease. The lease's holder is
// NODE_uuid; NODE is compared with --node. So the directories of all control planes must be alike. A lease that nobody
// holds counts as ours, as with the original: two at work do no harm, none at work does. Where the API does not answer,
// nothing can be done, and it is asked again after the period.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Other than the original's list it has what an aggregated API leaves behind that breaks others (an APIService without
// its Service stalls the deletion of namespaces), and RBAC. The APIService goes first for the same reason.
const pruneKinds = "apiservices.apiregistration.k8s.io,deployments.apps,daemonsets.apps,statefulsets.apps," +
	"replicasets.apps,jobs.batch,cronjobs.batch,pods,services,ingresses.networking.k8s.io,configmaps,secrets," +
	"serviceaccounts,rolebindings.rbac.authorization.k8s.io,roles.rbac.authorization.k8s.io," +
	"clusterrolebindings.rbac.authorization.k8s.io,clusterroles.rbac.authorization.k8s.io"

func main() {
	hostname, _ := os.Hostname()
	directory := flag.String("directory", "/etc/kubernetes/addons", "where the manifests are; *.yaml, *.yml, *.json")
	kubeconfig := flag.String("kubeconfig", "/etc/kubernetes/addon-manager.conf", "how to reach the API")
	kubectl := flag.String("kubectl", "kubectl", "the kubectl to call")
	node := flag.String("node", hostname, "this node's name, as the controller manager's lease has it")
	period := flag.Duration("period", 5*time.Second, "time between two checks")
	limit := flag.Duration("limit", 60*time.Second, "time that one call of kubectl may take")
	address := flag.String("healthz", "127.0.0.1:10270", "where /healthz answers")
	prune := flag.String("prune-kinds", pruneKinds, "kinds of which objects may be pruned")
	flag.Parse()
	log.SetFlags(log.LUTC | log.Ldate | log.Ltime)

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	pulse := newPulse(*limit+*period+30*time.Second, time.Now)
	go func() {
		err := http.ListenAndServe(*address, pulse)
		if !errors.Is(err, http.ErrServerClosed) {
			log.Fatalf("healthz: %v", err)
		}
	}()
	api := &caller{program: *kubectl, kubeconfig: *kubeconfig, limit: *limit, beat: pulse.beat}
	manager := &manager{
		directory: *directory,
		node:      *node,
		kinds:     strings.Split(*prune, ","),
		api:       api,
		say:       log.Printf,
	}
	log.Printf("on %s, each %s: %s", *node, *period, *directory)
	for stop.Err() == nil {
		pulse.beat()
		manager.round(stop)
		select {
		case <-stop.Done():
		case <-time.After(*period):
		}
	}
	log.Print("told to end")
}
