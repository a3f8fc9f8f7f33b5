package main

import (
	"fmt"
	"hash/fnv"
	"math"
	"sort"

	"github.com/anishathalye/porcupine"
)

// forever is later than the end of every history: the end of what may still be done then.
const forever = math.MaxInt64

// Operation is one question put to an object, and its answer. Times are in nanoseconds, on one clock.
type Operation struct {
	Key string `json:"key"`
	// Client names who asked; it is shown, not judged.
	Client string `json:"client"`
	// Kind is "read"; "cas": a write of To on the condition that the value is From; "restore": the value became To,
	// because the store was put back on purpose.
	Kind string `json:"kind"`
	From string `json:"from"`
	To   string `json:"to"`
	// Output is what a read answered; "" is the value of an object that is not there.
	Output string `json:"output"`
	Start  int64  `json:"start"`
	End    int64  `json:"end"`
	// Outcome is "ok"; "failed": certainly not done; "unknown": done at any time after Start, or never.
	Outcome string `json:"outcome"`
}

// call is what the model sees of an operation.
type call struct {
	number int
	kind   string
	from   string
	to     string
	maybe  bool
}

// model is a register with compare-and-set.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		asked := input.(call)
		switch {
		case asked.kind == "read":
			return output == state, state
		case asked.kind == "restore":
			return true, asked.to
		case asked.from == state:
			return true, asked.to
		}
		// That it may be placed where it does nothing is that it may never have been done.
		return asked.maybe, state
	},
	Hash: func(state any) uint64 {
		sum := fnv.New64a()
		sum.Write([]byte(state.(string)))
		return sum.Sum64()
	},
	DescribeOperation: func(input, output any) string {
		asked := input.(call)
		switch asked.kind {
		case "read":
			return fmt.Sprintf("read %s", shown(output.(string)))
		case "restore":
			return fmt.Sprintf("restored to %s", shown(asked.to))
		}
		unknown := ""
		if asked.maybe {
			unknown = " (outcome unknown)"
		}
		return fmt.Sprintf("%s, if it is %s%s", shown(asked.to), shown(asked.from), unknown)
	},
	DescribeState: func(state any) string { return shown(state.(string)) },
}

func shown(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}

// translate gives the objects in their order, and the operations of each as Porcupine takes them.
func translate(operations []Operation) ([]string, map[string][]porcupine.Operation, error) {
	byKey := map[string][]porcupine.Operation{}
	clients := rows{}
	for number, one := range operations {
		if err := one.valid(); err != nil {
			return nil, nil, fmt.Errorf("operation %d: %w", number, err)
		}
		// What was certainly not done changed nothing, and a read without an answer says nothing.
		if one.Outcome == "failed" || one.Kind == "read" && one.Outcome == "unknown" {
			continue
		}
		end := one.End
		if one.Outcome == "unknown" {
			end = forever
		}
		byKey[one.Key] = append(byKey[one.Key], porcupine.Operation{
			ClientId: clients.row(one.Key, one.Client, one.Start, end),
			Input:    call{number, one.Kind, one.From, one.To, one.Outcome == "unknown"},
			Call:     one.Start,
			Output:   one.Output,
			Return:   end,
			Metadata: one.Client,
		})
	}
	keys := make([]string, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys, byKey, nil
}

// relevant leaves out each write of unknown outcome whose value nobody needs: no read saw it, and no write that was
// done, or is needed itself, was on condition of it. Porcupine would try each of them in every place: twice the time
// for each. Nothing is lost: after such a write nothing else that is certain can come, until the store is restored,
// which makes no difference between values. So it can as well be left out of every order that has it.
func relevant(operations []porcupine.Operation) []porcupine.Operation {
	needed := map[string]bool{}
	for _, one := range operations {
		switch asked := one.Input.(call); {
		case asked.kind == "read":
			needed[one.Output.(string)] = true
		case asked.kind == "cas" && !asked.maybe:
			needed[asked.from] = true
		}
	}
	for count := -1; count != len(needed); {
		count = len(needed)
		for _, one := range operations {
			if asked := one.Input.(call); asked.maybe && needed[asked.to] {
				needed[asked.from] = true
			}
		}
	}
	kept := make([]porcupine.Operation, 0, len(operations))
	for _, one := range operations {
		if asked := one.Input.(call); !asked.maybe || needed[asked.to] {
			kept = append(kept, one)
		}
	}
	return kept
}

func (one Operation) valid() error {
	switch {
	case one.Kind != "read" && one.Kind != "cas" && one.Kind != "restore":
		return fmt.Errorf("there is no kind %q", one.Kind)
	case one.Outcome != "ok" && one.Outcome != "failed" && one.Outcome != "unknown":
		return fmt.Errorf("there is no outcome %q", one.Outcome)
	case one.Key == "":
		return fmt.Errorf("it has no key")
	case one.End < one.Start:
		return fmt.Errorf("it ends %d ns before it starts", one.Start-one.End)
	}
	return nil
}

// rows are the lines of a picture, of each object and client, by when each is free again: what one client asked at
// the same time needs several.
type rows map[string][]struct {
	client string
	free   int64
}

func (found rows) row(key, client string, start, end int64) int {
	for number, row := range found[key] {
		if row.client == client && row.free < start {
			found[key][number].free = end
			return number
		}
	}
	found[key] = append(found[key], struct {
		client string
		free   int64
	}{client, end})
	return len(found[key]) - 1
}
