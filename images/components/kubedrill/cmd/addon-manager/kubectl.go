package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// caller asks the API by calling kubectl.
type caller struct {
	program    string
	kubeconfig string
	limit      time.Duration
	beat       func()
}

func (c *caller) run(ctx context.Context, stdin string, arguments ...string) (string, error) {
	c.beat()
	limited, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	// Its cache of what the API serves is kept between calls: the pod gives it /tmp and no other place to write to.
	common := []string{"--kubeconfig", c.kubeconfig, "--cache-dir", "/tmp/kubectl", "--request-timeout", "10s"}
	command := exec.CommandContext(limited, c.program, append(common, arguments...)...)
	var out, complaints bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &out, &complaints
	err := command.Run()
	if limited.Err() != nil {
		err = fmt.Errorf("kubectl %s did not end within %s", arguments[0], c.limit)
	} else if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", arguments[0], err, lastLines(complaints.String(), 3))
	}
	return out.String(), err
}

// holder is who holds the controller manager's lease, NODE_uuid; empty where nobody does.
func (c *caller) holder(ctx context.Context) (string, error) {
	return c.run(ctx, "", "get", "lease", "kube-controller-manager", "--namespace", "kube-system",
		"--ignore-not-found", "--output", "jsonpath={.spec.holderIdentity}")
}

func (c *caller) apply(ctx context.Context, objects []object) ([]change, error) {
	said, err := c.run(ctx, list(objects), "apply", "--filename", "-")
	return changes(said), err
}

// existing is those objects that are there; with an error, those that could be had.
func (c *caller) existing(ctx context.Context, objects []object) ([]object, error) {
	said, err := c.run(ctx, list(objects), "get", "--filename", "-", "--ignore-not-found", "--output", "json")
	found, unread := answered(said)
	return found, errors.Join(err, unread)
}

func (c *caller) create(ctx context.Context, one object) error {
	_, err := c.run(ctx, list([]object{one}), "create", "--filename", "-")
	return err
}

func (c *caller) labelled(ctx context.Context, kinds []string) ([]object, error) {
	said, err := c.run(ctx, "", "get", strings.Join(kinds, ","), "--all-namespaces", "--selector",
		modeLabel+"="+reconcile, "--output", "json")
	if err != nil {
		return nil, err
	}
	return answered(said)
}

func (c *caller) remove(ctx context.Context, one object) error {
	bare := map[string]any{"apiVersion": one.APIVersion, "kind": one.Kind, "metadata": map[string]any{
		"name": one.Metadata.Name, "namespace": one.Metadata.Namespace,
	}}
	text, err := json.Marshal(bare)
	if err != nil {
		return err
	}
	_, err = c.run(ctx, string(text), "delete", "--filename", "-", "--ignore-not-found", "--wait=false")
	return err
}

// change is what kubectl apply did to one object: 'deployment.apps/coredns configured'.
type change struct {
	object string
	verb   string
}

// changes is what kubectl apply says it did, without what was as it should be.
func changes(said string) []change {
	var found []change
	for line := range strings.Lines(said) {
		object, verb, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && verb != "unchanged" {
			found = append(found, change{object, verb})
		}
	}
	return found
}

// answered is the objects in an answer of kubectl get; it answers nothing where there are none.
func answered(said string) ([]object, error) {
	if strings.TrimSpace(said) == "" {
		return nil, nil
	}
	found, err := expand([]byte(said))
	if err != nil {
		return nil, errors.Join(errors.New("kubectl's answer cannot be read"), err)
	}
	return found, nil
}

// A line of klog begins with its time ('E1124 21:54:01.123456'), so that no two of them are the same.
var klog = regexp.MustCompile(`^[IWEF]\d{4} `)

func lastLines(text string, count int) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), klog.MatchString)
	return strings.Join(lines[max(0, len(lines)-count):], " / ")
}
