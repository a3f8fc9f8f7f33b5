package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	modeLabel    = "addonmanager.kubernetes.io/mode"
	reconcile    = "Reconcile"
	ensureExists = "EnsureExists"
)

var (
	endings   = []string{".yaml", ".yml", ".json"}
	separator = regexp.MustCompile(`(?m)^---(?:[ \t].*)?$`)
)

// object is one Kubernetes object: what the manager has to know of it, and all of it as it is.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	} `json:"metadata"`
	file string
	text json.RawMessage
}

func (o object) mode() string {
	return o.Metadata.Labels[modeLabel]
}

// id is the same for an object of a file and of the API: a file may leave 'default' out, and name another version.
func (o object) id() string {
	group, _, found := strings.Cut(o.APIVersion, "/")
	if !found {
		group = ""
	}
	namespace := o.Metadata.Namespace
	if namespace == "default" {
		namespace = ""
	}
	return strings.Join([]string{group, o.Kind, namespace, o.Metadata.Name}, "/")
}

// String is the object for people.
func (o object) String() string {
	name := o.Metadata.Name
	if o.Metadata.Namespace != "" {
		name = o.Metadata.Namespace + "/" + name
	}
	return o.Kind + " " + name
}

// addons is what a directory holds.
type addons struct {
	kept    []object // with a mode
	refused []object // without one
	broken  []string // files that could not be read, in words
}

func (a addons) of(mode string) []object {
	var found []object
	for _, one := range a.kept {
		if one.mode() == mode {
			found = append(found, one)
		}
	}
	return found
}

// refusals is what is refused, and why; empty where nothing is.
func (a addons) refusals() string {
	var why []string
	for _, one := range a.refused {
		why = append(why, fmt.Sprintf("%s in %s: its label %s is %q", one, one.file, modeLabel, one.mode()))
	}
	return strings.Join(why, "; ")
}

// read reads all manifests below a directory; names that begin with a dot are left out.
func read(directory string) addons {
	var found addons
	seen := map[string]string{}
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != directory && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() || !slices.Contains(endings, filepath.Ext(path)) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(directory, path)
		objects, err := parse(string(text))
		if err != nil {
			found.broken = append(found.broken, fmt.Sprintf("%s: %v", name, err))
			return nil
		}
		for _, one := range objects {
			one.file = name
			mode := one.mode()
			if mode != reconcile && mode != ensureExists {
				found.refused = append(found.refused, one)
				continue
			}
			if other, twice := seen[one.id()]; twice {
				found.broken = append(found.broken, fmt.Sprintf("%s: %s is in %s already", name, one, other))
				continue
			}
			seen[one.id()] = name
			found.kept = append(found.kept, one)
		}
		return nil
	})
	if err != nil {
		found.broken = append(found.broken, err.Error())
	}
	return found
}

// parse gives the objects of a text: several documents, and the items of a List.
func parse(text string) ([]object, error) {
	var found []object
	for _, document := range separator.Split(text, -1) {
		data, err := yaml.YAMLToJSON([]byte(document))
		if err != nil {
			return nil, err
		}
		if string(data) == "null" {
			continue
		}
		objects, err := expand(data)
		if err != nil {
			return nil, err
		}
		found = append(found, objects...)
	}
	return found, nil
}

// expand gives the object of a JSON text, or the items of a List.
func expand(data []byte) ([]object, error) {
	var list struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	if list.Kind == "List" {
		var found []object
		for _, item := range list.Items {
			objects, err := expand(item)
			if err != nil {
				return nil, err
			}
			found = append(found, objects...)
		}
		return found, nil
	}
	one := object{text: data}
	if err := json.Unmarshal(data, &one); err != nil {
		return nil, err
	}
	if one.APIVersion == "" || one.Kind == "" || one.Metadata.Name == "" {
		return nil, fmt.Errorf("an object without apiVersion, kind or name: %.80s", data)
	}
	return []object{one}, nil
}

// list is the text of a List of objects, as kubectl takes it.
func list(objects []object) string {
	items := make([]json.RawMessage, len(objects))
	for number, one := range objects {
		items[number] = one.text
	}
	text, _ := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	return string(text)
}
