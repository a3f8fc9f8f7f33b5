// Command bootstrap-objects prints what an API server of this version makes of roles and priority classes when it starts
// with its usual feature gates: one JSON line for each, with the path that it is created at.
package main

import (
	"encoding/json"
	"log"
	"maps"
	"os"
	"slices"

	rbac "k8s.io/api/rbac/v1"
	scheduling "k8s.io/api/scheduling/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	priorities "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	policy "k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

type line struct {
	Path   string `json:"path"`
	Object any    `json:"object"`
}

func kind(version schema.GroupVersion, name string) meta.TypeMeta {
	return meta.TypeMeta{APIVersion: version.String(), Kind: name}
}

func lines() []line {
	var found []line
	roles := "/apis/" + rbac.SchemeGroupVersion.String()
	for _, each := range append(policy.ClusterRoles(), policy.ControllerRoles()...) {
		each.TypeMeta = kind(rbac.SchemeGroupVersion, "ClusterRole")
		found = append(found, line{roles + "/clusterroles", each})
	}
	for _, each := range append(policy.ClusterRoleBindings(), policy.ControllerRoleBindings()...) {
		each.TypeMeta = kind(rbac.SchemeGroupVersion, "ClusterRoleBinding")
		found = append(found, line{roles + "/clusterrolebindings", each})
	}
	inNamespaces := policy.NamespaceRoles()
	for _, namespace := range slices.Sorted(maps.Keys(inNamespaces)) {
		for _, each := range inNamespaces[namespace] {
			each.TypeMeta = kind(rbac.SchemeGroupVersion, "Role")
			found = append(found, line{roles + "/namespaces/" + namespace + "/roles", each})
		}
	}
	bindings := policy.NamespaceRoleBindings()
	for _, namespace := range slices.Sorted(maps.Keys(bindings)) {
		for _, each := range bindings[namespace] {
			each.TypeMeta = kind(rbac.SchemeGroupVersion, "RoleBinding")
			found = append(found, line{roles + "/namespaces/" + namespace + "/rolebindings", each})
		}
	}
	for _, each := range priorities.SystemPriorityClasses() {
		each.TypeMeta = kind(scheduling.SchemeGroupVersion, "PriorityClass")
		found = append(found, line{"/apis/" + scheduling.SchemeGroupVersion.String() + "/priorityclasses", each})
	}
	return found
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for _, each := range lines() {
		if err := out.Encode(each); err != nil {
			log.Fatal(err)
		}
	}
}
