package main

import (
	"context"
	"slices"
	"strings"
)

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// cluster is what the manager asks of the API.
type cluster interface {
	holder(ctx context.Context) (string, error)
	apply(ctx context.Context, objects []object) ([]change, error)
	existing(ctx context.Context, objects []object) ([]object, error)
	create(ctx context.Context, one object) error
	labelled(ctx context.Context, kinds []string) ([]object, error)
	remove(ctx context.Context, one object) error
}

// manager does a round each time that it is told to, and says what changed.
type manager struct {
	directory string
	node      string
	kinds     []string
	api       cluster
	say       func(format string, arguments ...any)

	works   bool   // whether this node was the one at work in the last round
	applied string // the manifests of the last round that went through
	said    map[string]string
}

// round looks at everything once.
func (m *manager) round(ctx context.Context) {
	holder, err := m.api.holder(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		m.failed("ask the API who works", err)
		return
	}
	if m.once("failed to ask the API who works", "") {
		m.say("the API answers again")
	}
	mine := holder == "" || strings.HasPrefix(holder, m.node+"_")
	if mine != m.works || m.said["holder"] != holder {
		m.once("holder", holder)
		if mine {
			m.say("this node works: the controller manager's lease is held by %q", holder)
		} else {
			m.say("another node works: the controller manager's lease is held by %q", holder)
		}
	}
	if mine && !m.works {
		m.applied = "" // what others did meanwhile is not known
	}
	m.works = mine
	if !mine {
		return
	}
	found := read(m.directory)
	for _, each := range [][2]string{
		{"refused", found.refusals()}, {"cannot be read", strings.Join(found.broken, "; ")},
	} {
		if m.once(each[0], each[1]) && each[1] != "" {
			m.say("%s: %s", each[0], each[1])
		}
	}
	if len(found.kept) > 0 {
		m.keep(ctx, found)
	}
	if ctx.Err() == nil {
		m.prune(ctx, found)
	}
}

// keep looks at what is there of the manifests, and does what each mode asks for.
func (m *manager) keep(ctx context.Context, found addons) {
	there, err := m.api.existing(ctx, found.kept)
	if m.failed("look at what is there", err) && len(there) == 0 {
		return
	}
	live := map[string]object{}
	for _, one := range there {
		live[one.id()] = one
	}
	m.ensure(ctx, found.of(ensureExists), live)
	m.reconcile(ctx, found.of(reconcile), live)
}

// ensure creates what is missing.
func (m *manager) ensure(ctx context.Context, objects []object, live map[string]object) {
	for _, one := range objects {
		if _, known := live[one.id()]; known {
			continue
		}
		if !m.failed("create "+one.String(), m.api.create(ctx, one)) {
			m.say("created: %s (%s)", one, one.file)
		}
	}
}

// reconcile applies the manifests: what is new in them is 'applied', anything else that kubectl changes is 'put back'.
func (m *manager) reconcile(ctx context.Context, objects []object, live map[string]object) {
	manifests := list(objects)
	word, wanted := "applied", objects
	if manifests == m.applied {
		word, wanted = "put back", nil
		for _, one := range objects {
			if there, known := live[one.id()]; !known || drifted(one, there) {
				wanted = append(wanted, one)
			}
		}
	}
	if len(wanted) == 0 {
		return
	}
	changed, err := m.api.apply(ctx, wanted)
	for _, one := range changed {
		m.say("%s: %s (%s)", word, one.object, one.verb)
	}
	if !m.failed("apply", err) {
		m.applied = manifests
	}
}

// prune removes what was applied and is in no file any more.
func (m *manager) prune(ctx context.Context, found addons) {
	if len(found.kept) == 0 || len(found.broken) > 0 {
		if m.once("prune", "nothing is pruned: the directory is empty, or not all of it can be read") {
			m.say("%s", m.said["prune"])
		}
		return
	}
	m.once("prune", "")
	live, err := m.api.labelled(ctx, m.kinds)
	if m.failed("list what may be pruned", err) {
		return
	}
	for _, one := range surplus(found, live) {
		if !m.failed("prune "+one.String(), m.api.remove(ctx, one)) {
			m.say("pruned: %s", one)
		}
	}
}

// surplus is the objects of the API that are to be pruned: not in a file, labelled, and made by an apply.
// One that is refused for its label has a file all the same: a slip of the pen removes nothing.
func surplus(files addons, live []object) []object {
	wanted := map[string]bool{}
	for _, one := range append(slices.Clone(files.kept), files.refused...) {
		wanted[one.id()] = true
	}
	var found []object
	for _, one := range live {
		_, applied := one.Metadata.Annotations[lastApplied]
		if applied && one.mode() == reconcile && !wanted[one.id()] {
			found = append(found, one)
		}
	}
	return found
}

// failed says what could not be done, once until it changes.
func (m *manager) failed(what string, err error) bool {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if m.once("failed to "+what, text) && err != nil {
		m.say("failed to %s: %s", what, text)
	}
	return err != nil
}

// once keeps what was last said of something, and tells whether this is new.
func (m *manager) once(about, text string) bool {
	if m.said == nil {
		m.said = map[string]string{}
	}
	if m.said[about] == text {
		return false
	}
	m.said[about] = text
	return true
}
