package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// memory is an API server of a few lines: objects by id, as text.
type memory struct {
	lease   string
	away    error
	objects map[string]object
	applied int
}

func (m *memory) holder(context.Context) (string, error) {
	return m.lease, m.away
}

func (m *memory) apply(_ context.Context, objects []object) ([]change, error) {
	m.applied += len(objects)
	var done []change
	for _, one := range objects {
		before, there := m.objects[one.id()]
		verb := "created"
		if there && string(before.text) == string(one.text) {
			continue
		} else if there {
			verb = "configured"
		}
		one.Metadata.Annotations = map[string]string{lastApplied: "{}"}
		m.objects[one.id()] = one
		done = append(done, change{one.Metadata.Name, verb})
	}
	return done, nil
}

func (m *memory) existing(_ context.Context, objects []object) ([]object, error) {
	if m.away != nil {
		return nil, m.away
	}
	var found []object
	for _, one := range objects {
		if live, there := m.objects[one.id()]; there {
			found = append(found, live)
		}
	}
	return found, nil
}

func (m *memory) create(_ context.Context, one object) error {
	m.objects[one.id()] = one
	return nil
}

func (m *memory) labelled(context.Context, []string) ([]object, error) {
	var found []object
	for _, one := range m.objects {
		if one.mode() == reconcile {
			found = append(found, one)
		}
	}
	return found, nil
}

func (m *memory) remove(_ context.Context, one object) error {
	delete(m.objects, one.id())
	return nil
}

func (m *memory) names() []string {
	var names []string
	for _, one := range m.objects {
		names = append(names, one.Metadata.Name)
	}
	slices.Sort(names)
	return names
}

type world struct {
	*testing.T
	api     *memory
	manager *manager
	log     []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	made := &world{T: t, api: &memory{lease: "cp-1_uuid", objects: map[string]object{}}}
	made.manager = &manager{directory: t.TempDir(), node: "cp-1", api: made.api, say: func(format string, rest ...any) {
		made.log = append(made.log, fmt.Sprintf(format, rest...))
	}}
	return made
}

func (w *world) write(name, text string) {
	w.Helper()
	path := filepath.Join(w.manager.directory, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// round does one, and gives what it said.
func (w *world) round() string {
	w.log = nil
	w.manager.round(context.Background())
	return strings.Join(w.log, "\n")
}

func (w *world) says(wanted ...string) {
	w.Helper()
	said := w.round()
	for _, each := range wanted {
		if !strings.Contains(said, each) {
			w.Fatalf("a round says %q, not %q", said, each)
		}
	}
	if len(wanted) == 0 && said != "" {
		w.Fatalf("a round says %q where nothing was to do", said)
	}
}

func (w *world) has(names ...string) {
	w.Helper()
	if !slices.Equal(w.api.names(), names) {
		w.Fatalf("there is %v, not %v", w.api.names(), names)
	}
}

func manifest(name, mode, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: kube-system, "+
		"labels: {addonmanager.kubernetes.io/mode: %s}}\ndata: {value: %q}\n", name, mode, value)
}

func changed(w *world, name, mode, value string) {
	w.Helper()
	objects, err := parse(manifest(name, mode, value))
	if err != nil {
		w.Fatal(err)
	}
	before := w.api.objects[objects[0].id()]
	objects[0].Metadata.Annotations = before.Metadata.Annotations
	w.api.objects[objects[0].id()] = objects[0]
}

func TestReconcilePutsBackAndPrunes(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", manifest("a", reconcile, "1")+"---\n"+manifest("b", reconcile, "1"))
	w.says("this node works", "applied: a (created)", "applied: b (created)")
	w.says()
	w.api.applied = 0
	w.says()
	changed(w, "a", reconcile, "changed by a user")
	w.says("put back: a (configured)")
	if w.api.applied != 1 {
		t.Fatalf("%d objects were applied, and one had changed", w.api.applied)
	}
	clear(w.api.objects)
	w.says("put back: a (created)", "put back: b (created)")
	w.write("a.yaml", manifest("a", reconcile, "2"))
	w.says("applied: a (configured)", "pruned: ConfigMap kube-system/b")
	w.has("a")
	w.says()
}

func TestEnsureExistsLeavesChangesAlone(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", manifest("a", ensureExists, "1"))
	w.write("b.yaml", manifest("b", reconcile, "1"))
	w.says("created: ConfigMap kube-system/a (a.yaml)")
	changed(w, "a", ensureExists, "changed by a user")
	w.says()
	os.Remove(filepath.Join(w.manager.directory, "a.yaml"))
	w.says()
	w.has("a", "b")
	w.write("a.yaml", manifest("a", ensureExists, "1"))
	clear(w.api.objects)
	w.says("created: ConfigMap kube-system/a", "put back: b (created)")
}

func TestWhatIsNotLabelledIsRefusedOnceAndNotTouched(t *testing.T) {
	w := newWorld(t)
	w.write("good.yaml", manifest("good", reconcile, "1"))
	w.write("bad.yaml", manifest("bad", "Sometimes", "1"))
	w.says(`refused: ConfigMap kube-system/bad in bad.yaml: its label addonmanager.kubernetes.io/mode is "Sometimes"`)
	w.says()
	w.has("good")
	w.write("good.yaml", strings.Replace(manifest("good", reconcile, "1"), reconcile, "reconcile", 1))
	w.write("other.yaml", manifest("other", reconcile, "1"))
	w.says("refused", "good.yaml")
	w.has("good", "other") // the label of its file is wrong, but it has one: it is not pruned
}

func TestNothingIsPrunedUnlessAllCanBeRead(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", manifest("a", reconcile, "1"))
	w.write("b.yaml", manifest("b", reconcile, "1"))
	w.round()
	for name, text := range map[string]string{
		"b.yaml": "kind: [", "a.yaml": manifest("a", reconcile, "1") + "---\n" + manifest("a", reconcile, "2"),
	} {
		w.write(name, text)
		w.says("cannot be read: ", name)
		w.has("a", "b")
	}
	os.Remove(filepath.Join(w.manager.directory, "b.yaml"))
	os.Remove(filepath.Join(w.manager.directory, "a.yaml"))
	w.round()
	w.has("a", "b")
	os.RemoveAll(w.manager.directory)
	w.says("cannot be read")
	w.has("a", "b")
}

func TestOnlyWhatWasAppliedIsPruned(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", manifest("a", reconcile, "1"))
	changed(w, "by-hand", reconcile, "1") // labelled, but never applied
	w.round()
	w.has("a", "by-hand")
}

func TestOnlyTheHolderOfTheLeaseWorks(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", manifest("a", reconcile, "1"))
	for holder, works := range map[string]bool{
		"cp-1_uuid": true, "cp-10_uuid": false, "cp-2_uuid": false, "cp-1": false, "": true,
	} {
		clear(w.api.objects)
		w.api.lease = holder
		w.round()
		if (len(w.api.objects) == 1) != works {
			t.Errorf("a lease held by %q: works is %t", holder, !works)
		}
	}
}

func TestAnAPIThatIsAway(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", manifest("a", reconcile, "1"))
	w.api.away = errors.New("connection refused")
	w.says("connection refused")
	w.says()
	w.has()
	w.api.away = nil
	w.says("the API answers again", "applied: a (created)")
}
