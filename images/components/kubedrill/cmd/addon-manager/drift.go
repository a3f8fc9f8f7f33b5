package main

import "encoding/json"

// drifted tells whether an object of the API lacks what its manifest says, or was not applied by us. It only saves the
// call of `kubectl apply`, which takes 70 ms of a core for each object: where it errs (a quantity that the API writes
// another way), apply decides.
func drifted(manifest, live object) bool {
	if _, applied := live.Metadata.Annotations[lastApplied]; !applied {
		return true
	}
	var wanted, there any
	if json.Unmarshal(manifest.text, &wanted) != nil || json.Unmarshal(live.text, &there) != nil {
		return true
	}
	return !within(wanted, there)
}

// within tells whether all that is wanted is there: of an object each field, of a list each item in its place.
func within(wanted, there any) bool {
	switch wanted := wanted.(type) {
	case nil:
		return true
	case map[string]any:
		found, same := there.(map[string]any)
		for key, value := range wanted {
			if !same || !within(value, found[key]) {
				return false
			}
		}
		return same || there == nil
	case []any:
		found, _ := there.([]any)
		if len(found) != len(wanted) {
			return false
		}
		for number, value := range wanted {
			if !within(value, found[number]) {
				return false
			}
		}
		return true
	}
	return wanted == there
}
