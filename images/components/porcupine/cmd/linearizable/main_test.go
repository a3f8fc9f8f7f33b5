package main

import (
	"bytes"
	"encoding/json"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/anishathalye/porcupine"
)

func write(from, to string, start, end int64) Operation {
	return Operation{Key: "a", Client: "w", Kind: "cas", From: from, To: to, Start: start, End: end, Outcome: "ok"}
}

func read(output string, start, end int64) Operation {
	return Operation{Key: "a", Client: "r", Kind: "read", Output: output, Start: start, End: end, Outcome: "ok"}
}

func restore(to string, start, end int64) Operation {
	return Operation{Key: "a", Client: "us", Kind: "restore", To: to, Start: start, End: end, Outcome: "ok"}
}

func with(outcome string, one Operation) Operation {
	one.Outcome = outcome
	return one
}

func on(key string, one Operation) Operation {
	one.Key = key
	return one
}

func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		operations []Operation
		result     string
	}{
		"nothing at all":                      {nil, "linearizable"},
		"one after the other":                 {[]Operation{read("", 0, 1), write("", "1", 2, 3), read("1", 4, 5)}, "linearizable"},
		"a read at the same time sees either": {[]Operation{write("", "1", 2, 9), read("1", 3, 4), read("1", 5, 6)}, "linearizable"},
		"a read that goes back":               {[]Operation{write("", "1", 2, 9), read("1", 3, 4), read("", 5, 6)}, "not linearizable"},
		"a stale read":                        {[]Operation{write("", "1", 0, 1), write("1", "2", 2, 3), read("1", 4, 5)}, "not linearizable"},
		"a lost write":                        {[]Operation{write("", "1", 0, 1), read("", 2, 3)}, "not linearizable"},
		"two writes on one condition":         {[]Operation{write("", "1", 0, 9), write("", "2", 0, 9)}, "not linearizable"},
		"a value from nowhere":                {[]Operation{read("7", 0, 1)}, "not linearizable"},
		"objects do not touch each other":     {[]Operation{write("", "1", 0, 1), on("b", read("", 2, 3))}, "linearizable"},
		"one object of two":                   {[]Operation{on("b", write("", "1", 0, 1)), on("b", read("", 2, 3)), read("", 2, 3)}, "not linearizable"},
		"a failed write is not there":         {[]Operation{with("failed", write("", "1", 0, 1)), read("", 2, 3)}, "linearizable"},
		"a failed write is there":             {[]Operation{with("failed", write("", "1", 0, 1)), read("1", 2, 3)}, "not linearizable"},
		"an unknown write is not there":       {[]Operation{with("unknown", write("", "1", 0, 1)), read("", 2, 3)}, "linearizable"},
		"an unknown write is there":           {[]Operation{with("unknown", write("", "1", 0, 1)), read("1", 2, 3)}, "linearizable"},
		"an unknown write comes late":         {[]Operation{with("unknown", write("", "1", 0, 1)), read("", 2, 3), read("1", 4, 5)}, "linearizable"},
		"an unknown write comes and goes":     {[]Operation{with("unknown", write("", "1", 0, 1)), read("1", 2, 3), read("", 4, 5)}, "not linearizable"},
		"before it was begun":                 {[]Operation{with("unknown", write("", "1", 4, 5)), read("1", 2, 3)}, "not linearizable"},
		"an unknown write kept its condition": {
			[]Operation{with("unknown", write("", "1", 0, 1)), write("", "2", 2, 3), read("1", 4, 5)}, "not linearizable",
		},
		"unknown ones on top of each other": {
			[]Operation{with("unknown", write("", "1", 0, 1)), with("unknown", write("1", "2", 2, 3)), read("2", 4, 5)}, "linearizable",
		},
		"the second of them without the first": {
			[]Operation{with("unknown", write("0", "1", 0, 1)), with("unknown", write("1", "2", 2, 3)), read("2", 4, 5)}, "not linearizable",
		},
		"a read without an answer says nothing": {[]Operation{with("unknown", read("7", 0, 1))}, "linearizable"},
		"restored, and lost":                    {[]Operation{write("", "1", 0, 1), write("1", "2", 2, 3), restore("1", 4, 99), read("1", 5, 6)}, "linearizable"},
		"lost before it was restored":           {[]Operation{write("", "1", 0, 1), write("1", "2", 2, 3), read("1", 4, 5), restore("1", 6, 99)}, "not linearizable"},
		"restored, and more is lost":            {[]Operation{write("", "1", 0, 1), write("1", "2", 2, 3), restore("1", 4, 99), read("", 5, 6)}, "not linearizable"},
		"restored, and back again":              {[]Operation{write("", "1", 0, 1), restore("", 4, 99), read("", 5, 6), read("1", 7, 8)}, "not linearizable"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, _, err := judge(History{Timeout: 60, Operations: test.operations})
			if err != nil || answer.Result != test.result {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
}

func TestTheReasonNamesTheBeginningAndWhatCannotFollow(t *testing.T) {
	answer, _, err := judge(History{60, []Operation{
		on("b", read("", 0, 1)), write("", "1", 0, 1), with("failed", write("1", "x", 1, 2)), write("1", "2", 2, 3),
		with("unknown", write("2", "3", 3, 4)), read("1", 5, 7), read("2", 6, 8), read("2", 9, 10),
	}})
	want := Answer{"not linearizable", 2, 7, "a", []int{1, 3, 6}, "2", []int{5}}
	if err != nil || !reflect.DeepEqual(answer, want) {
		t.Errorf("%+v, %v; wanted %+v", answer, err, want)
	}
}

// Random histories, most of which could not have been: with and without the writes that nobody needs, Porcupine says
// the same.
func TestWhatIsLeftOutMakesNoDifference(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	left, counts := 0, map[bool]int{}
	for range 20000 {
		operations := []Operation{}
		for range 1 + random.Intn(7) {
			start := int64(random.Intn(12))
			one := Operation{Key: "a", Kind: []string{"read", "cas", "cas", "cas", "restore"}[random.Intn(5)], Start: start,
				From: value(random), To: value(random), Output: value(random), End: start + int64(random.Intn(6)), Outcome: "ok"}
			if one.Kind == "cas" && random.Intn(2) == 0 {
				one.Outcome = "unknown"
			}
			operations = append(operations, one)
		}
		_, byKey, err := translate(operations)
		if err != nil {
			t.Fatal(err)
		}
		all, some := byKey["a"], relevant(byKey["a"])
		left += len(all) - len(some)
		expected := porcupine.CheckOperations(model, all)
		counts[expected]++
		if porcupine.CheckOperations(model, some) != expected {
			t.Fatalf("%+v: %v with all of them", operations, expected)
		}
	}
	if left < 1000 || counts[true] < 1000 || counts[false] < 1000 {
		t.Errorf("these histories show nothing: %d left out, %v", left, counts)
	}
}

func value(random *rand.Rand) string { return []string{"", "1", "2", "3"}[random.Intn(4)] }

func TestRun(t *testing.T) {
	picture := filepath.Join(t.TempDir(), "picture.html")
	given, err := json.Marshal(History{60, []Operation{write("", "1", 0, 1), read("", 2, 3)}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(bytes.NewReader(given), &out, picture); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), `{"result":"not linearizable","keys":1,"operations":2,"key":"a","order":[0],"state":"1","stuck":[1]}`) {
		t.Error(out.String())
	}
	if page, err := os.ReadFile(picture); err != nil || !bytes.Contains(page, []byte("<html")) {
		t.Errorf("%v: %.80s", err, page)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	for given, wanted := range map[string]string{
		`{`:                 "cannot be read",
		`{"operations":[]}`: "a timeout of 0 s",
		`{"timeout":1,"operations":[{"key":"a","kind":"cas","outcome":"ok","until":1}]}`:         "until",
		`{"timeout":1,"operations":[{"key":"a","kind":"write","outcome":"ok"}]}`:                 `no kind "write"`,
		`{"timeout":1,"operations":[{"key":"a","kind":"cas","outcome":"maybe"}]}`:                `no outcome "maybe"`,
		`{"timeout":1,"operations":[{"kind":"cas","outcome":"ok"}]}`:                             "no key",
		`{"timeout":1,"operations":[{"key":"a","kind":"cas","outcome":"ok","start":5,"end":4}]}`: "operation 0: it ends 1 ns before",
	} {
		var out bytes.Buffer
		if err := run(strings.NewReader(given), &out, ""); err == nil || !strings.Contains(err.Error(), wanted) || out.Len() > 0 {
			t.Errorf("%s: %v, %s", given, err, out.String())
		}
	}
}

// What takes too long is told as such: 30 writes at the same time, in no order that ends well.
func TestTooLong(t *testing.T) {
	operations := []Operation{read("nowhere", 100, 101)}
	for number := range 30 {
		from, to := string(rune('A'+number)), string(rune('A'+number+1))
		if number == 0 {
			from = ""
		}
		operations = append(operations, restore(from, 0, 200), restore(to, 0, 200))
	}
	answer, _, err := judge(History{0.2, operations})
	if err != nil || answer.Result != "unknown" || answer.Key != "a" {
		t.Errorf("%+v, %v", answer, err)
	}
}
