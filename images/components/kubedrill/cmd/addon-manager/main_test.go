package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	text := "# a comment\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n--- # next\n" +
		"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: Deployment, metadata: {name: b, namespace: x}}\n---\n"
	objects, err := parse(text)
	if err != nil || fmt.Sprint(objects) != "[Service a Deployment x/b]" {
		t.Fatalf("%v %v", objects, err)
	}
	if again, err := expand([]byte(list(objects))); err != nil || fmt.Sprint(again) != fmt.Sprint(objects) {
		t.Fatalf("%v %v", again, err)
	}
	for _, bad := range []string{"kind: Service\nmetadata: {name: a}", "a: [", "- a\n- b", "apiVersion: v1\nkind: Pod"} {
		if objects, err := parse(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, objects)
		}
	}
}

func TestIDs(t *testing.T) {
	same := func(one, other string) bool {
		first, _ := parse(one)
		second, _ := parse(other)
		return first[0].id() == second[0].id()
	}
	deployment := "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}"
	if !same(deployment, "{apiVersion: apps/v1beta1, kind: Deployment, metadata: {name: a, namespace: default}}") {
		t.Error("another version, or 'default' left out, is no other object")
	}
	for _, other := range []string{
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}",
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: b}}",
		"{apiVersion: extensions/v1, kind: Deployment, metadata: {name: a}}",
		"{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a}}",
	} {
		if same(deployment, other) {
			t.Errorf("%s is another object", other)
		}
	}
}

func TestWhatApplySays(t *testing.T) {
	said := "deployment.apps/coredns configured\nservice/kube-dns unchanged\nconfigmap/a created\n\n"
	wanted := []change{{"deployment.apps/coredns", "configured"}, {"configmap/a", "created"}}
	if found := changes(said); !reflect.DeepEqual(found, wanted) {
		t.Fatal(found)
	}
}

// stub writes a program that stands for kubectl.
func stub(t *testing.T, script string) *caller {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubectl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &caller{program: path, kubeconfig: "conf", limit: 20 * time.Second, beat: func() {}}
}

func TestKubectl(t *testing.T) {
	ctx := context.Background()
	found, err := stub(t, `case "$*" in *"get cm,svc "*) echo '{"kind":"List","apiVersion":"v1","items":[`+
		`{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"}}]}';; esac`).labelled(ctx, []string{"cm", "svc"})
	if err != nil || fmt.Sprint(found) != "[Service a]" {
		t.Fatalf("%v %v", found, err)
	}
	if found, err = stub(t, "cat >/dev/null").existing(ctx, nil); err != nil || found != nil {
		t.Fatalf("no answer is no object: %v %v", found, err)
	}
	_, err = stub(t, "echo E1124 21:54:01.123456 noise >&2; echo refused >&2; exit 1").holder(ctx)
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 1: refused") {
		t.Fatal(err)
	}
	hangs := stub(t, "exec sleep 60")
	hangs.limit = 50 * time.Millisecond
	if _, err = hangs.holder(ctx); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Fatal(err)
	}
}

func TestHealthz(t *testing.T) {
	clock := time.Unix(1000, 0)
	pulse := newPulse(time.Minute, func() time.Time { return clock })
	status := func(path string) int {
		answer := httptest.NewRecorder()
		pulse.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
		return answer.Code
	}
	for passed, wanted := range map[time.Duration]int{59 * time.Second: 200, 61 * time.Second: 503} {
		clock = time.Unix(1000, 0).Add(passed)
		if found := status("/healthz"); found != wanted {
			t.Errorf("after %s: %d", passed, found)
		}
	}
	if pulse.beat(); status("/healthz") != 200 || status("/") != 404 {
		t.Error("a beat makes it healthy again; other paths are unknown")
	}
}

func TestDrift(t *testing.T) {
	manifest := `{"apiVersion":"v1","kind":"A","metadata":{"name":"a"},"spec":{"replicas":1,"list":[{"name":"x"}],"no":null}}`
	live := func(spec, annotations string) object {
		found, err := expand([]byte(`{"apiVersion":"v1","kind":"A","metadata":{"name":"a","annotations":` + annotations +
			`},"spec":` + spec + `}`))
		if err != nil {
			t.Fatal(err)
		}
		return found[0]
	}
	note := `{"` + lastApplied + `":"{}"}`
	wanted, _ := expand([]byte(manifest))
	for spec, differs := range map[string]bool{
		`{"replicas":1,"list":[{"name":"x"}]}`:                           false,
		`{"replicas":1,"list":[{"name":"x","default":true}],"more":[1]}`: false,
		`{"replicas":0,"list":[{"name":"x"}]}`:                           true,
		`{"replicas":"1","list":[{"name":"x"}]}`:                         true,
		`{"replicas":1,"list":[{"name":"x"},{"name":"y"}]}`:              true,
		`{"replicas":1,"list":[{"name":"y"}]}`:                           true,
		`{"replicas":1}`:                                                 true,
		`null`:                                                           true,
	} {
		if found := drifted(wanted[0], live(spec, note)); found != differs {
			t.Errorf("%s: differs is %t", spec, found)
		}
	}
	if !drifted(wanted[0], live(`{"replicas":1,"list":[{"name":"x"}]}`, "{}")) {
		t.Error("what was never applied is applied")
	}
}
