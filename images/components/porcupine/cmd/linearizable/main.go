// linearizable reads a history of operations on objects, each of which is a register with compare-and-set, and says
// whether one order of them explains all that was answered (Herlihy and Wing, "Linearizability: A Correctness
// Condition for Concurrent Objects", 1990). Porcupine decides; this program translates.
//
// Standard input: {"timeout": SECONDS, "operations": [...]}, see Operation. Standard output: see Answer. The status is
// 0 whatever the answer is, 2 where there is none.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

// History is what is to be judged.
type History struct {
	// Timeout is in seconds, for all of it.
	Timeout    float64     `json:"timeout"`
	Operations []Operation `json:"operations"`
}

// Answer is what became of it; operations are numbered as they were given, from 0.
type Answer struct {
	// Result is "linearizable", "not linearizable" or "unknown": the time was over.
	Result string `json:"result"`
	// Keys and Operations count what was judged: not the failed ones, nor reads without an answer.
	Keys       int `json:"keys"`
	Operations int `json:"operations"`
	// Key is the object that the rest is about: the first that cannot be explained, or the one that took too long.
	Key string `json:"key,omitempty"`
	// Order is the longest beginning that can be explained, and State the value after it.
	Order []int  `json:"order,omitempty"`
	State string `json:"state"`
	// Stuck are the operations, one of which must come next, and none of which can.
	Stuck []int `json:"stuck,omitempty"`
}

func main() {
	picture := flag.String("picture", "", "a file for Porcupine's page of what cannot be explained")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *picture); err != nil {
		fmt.Fprintln(os.Stderr, "linearizable:", err)
		os.Exit(2)
	}
}

func run(in io.Reader, out io.Writer, picture string) error {
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	var history History
	if err := decoder.Decode(&history); err != nil {
		return fmt.Errorf("the history cannot be read: %w", err)
	}
	answer, info, err := judge(history)
	if err != nil {
		return err
	}
	if picture != "" && answer.Result == "not linearizable" {
		if err := porcupine.VisualizePath(model, *info, picture); err != nil {
			return fmt.Errorf("the picture cannot be written: %w", err)
		}
	}
	return json.NewEncoder(out).Encode(answer)
}

// judge asks Porcupine about one object after the other: a history is linearizable if that of each object is.
func judge(history History) (Answer, *porcupine.LinearizationInfo, error) {
	if history.Timeout <= 0 {
		return Answer{}, nil, fmt.Errorf("a timeout of %g s is none", history.Timeout)
	}
	keys, byKey, err := translate(history.Operations)
	if err != nil {
		return Answer{}, nil, err
	}
	answer := Answer{Result: "linearizable", Keys: len(keys)}
	for key, operations := range byKey {
		answer.Operations += len(operations)
		byKey[key] = relevant(operations)
	}
	deadline := time.Now().Add(time.Duration(history.Timeout * float64(time.Second)))
	for _, key := range keys {
		// 0 would be no limit at all.
		left := max(time.Until(deadline), time.Millisecond)
		switch porcupine.CheckOperationsTimeout(model, byKey[key], left) {
		case porcupine.Ok:
			continue
		case porcupine.Unknown:
			answer.Result, answer.Key = "unknown", key
			return answer, nil, nil
		}
		// Once more, for the reason. It keeps every beginning that it finds, which the first time would be a waste.
		_, info := porcupine.CheckOperationsVerbose(model, byKey[key], left)
		answer.Result, answer.Key = "not linearizable", key
		answer.Order, answer.State, answer.Stuck = reason(byKey[key], info)
		return answer, &info, nil
	}
	return answer, nil, nil
}

// reason gives the longest beginning that can be explained, the value after it, and what cannot come next.
func reason(operations []porcupine.Operation, info porcupine.LinearizationInfo) ([]int, string, []int) {
	var longest []porcupine.Operation
	for _, order := range info.PartialLinearizationsOperations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	placed := map[int]bool{}
	order := []int{}
	state := model.Init()
	for _, operation := range longest {
		number := operation.Input.(call).number
		placed[number] = true
		order = append(order, number)
		_, state = model.Step(state, operation.Input, operation.Output)
	}
	// What begins after another one's end cannot come before it.
	first := int64(forever)
	for _, operation := range operations {
		if !placed[operation.Input.(call).number] {
			first = min(first, operation.Return)
		}
	}
	stuck := []int{}
	for _, operation := range operations {
		number := operation.Input.(call).number
		// One that may have been done, or not, is never what cannot be explained.
		if !placed[number] && operation.Call <= first && !operation.Input.(call).maybe {
			stuck = append(stuck, number)
		}
	}
	return order, state.(string), stuck
}
