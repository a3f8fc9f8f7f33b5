// Command probe asks Services and DNS from inside a pod, on a fixed schedule, and prints one JSON line for each answer.
//
//	probe [-timeout 1s] KIND,LANE,INTERVAL,TARGET ...
//
// KIND is http (TARGET is a URL of `hello`) or dns (TARGET is a name). Question n is due at the start + n intervals,
// whatever the answers take; each has a connection of its own. Times are calendar seconds. Outcomes: ok; failed
// (refused, or a wrong answer); unknown (no answer). Every 10 seconds a line tells the CPU that all lanes used.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// More questions than can be open within the timeout: one that outlasts it must not pile up others.
const spare = 2

type sample struct {
	Lane    string  `json:"lane"`
	Start   float64 `json:"start"`
	End     float64 `json:"end"`
	Outcome string  `json:"outcome"`
	Detail  string  `json:"detail"`
}

type cost struct {
	CPU   float64 `json:"cpu"`
	Began float64 `json:"began"`
	At    float64 `json:"at"`
	Lanes int     `json:"lanes"`
}

type lane struct {
	name     string
	interval time.Duration
	ask      func(context.Context) (outcome, detail string)
}

// began ties the monotonic clock to the calendar once, so that a step of the calendar's clock bends no duration.
var began = time.Now()

func calendar(at time.Time) float64 {
	return float64(began.UnixNano()+at.Sub(began).Nanoseconds()) / 1e9
}

var output sync.Mutex

func print(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

func parse(argument string) (lane, error) {
	parts := strings.SplitN(argument, ",", 4)
	if len(parts) != 4 {
		return lane{}, fmt.Errorf("%q is not KIND,LANE,INTERVAL,TARGET", argument)
	}
	interval, err := time.ParseDuration(parts[2])
	if err != nil || interval <= 0 {
		return lane{}, fmt.Errorf("%q: %q is no interval", argument, parts[2])
	}
	switch parts[0] {
	case "http":
		return lane{parts[1], interval, askHTTP(parts[3])}, nil
	case "dns":
		return lane{parts[1], interval, askDNS(parts[3])}, nil
	}
	return lane{}, fmt.Errorf("%q: %q is neither http nor dns", argument, parts[0])
}

func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &network) && network.Timeout())
}

// Go's own resolver: it reads the pod's resolv.conf, keeps nothing, and obeys the deadline. Each question has one of its
// own: a resolver lets questions for the same name wait for the one that is open, so that one lost packet would fail
// all that are asked in the next 5 seconds.
func newResolver() *net.Resolver {
	return &net.Resolver{PreferGo: true}
}

func askHTTP(url string) func(context.Context) (string, string) {
	return func(ctx context.Context) (string, string) {
		dialer := &net.Dialer{Resolver: newResolver()}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return "failed", err.Error()
		}
		response, err := client.Do(request)
		if err != nil {
			var dialing *net.OpError
			var resolving *net.DNSError
			if errors.As(err, &resolving) || (errors.As(err, &dialing) && dialing.Op == "dial") {
				return "failed", err.Error()
			}
			return "unknown", err.Error()
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		if err != nil {
			return "unknown", err.Error()
		}
		if response.StatusCode != http.StatusOK {
			return "failed", fmt.Sprintf("answered %d", response.StatusCode)
		}
		var answer struct {
			Pod string `json:"pod"`
		}
		if err := json.Unmarshal(body, &answer); err != nil || answer.Pod == "" {
			return "failed", fmt.Sprintf("a wrong answer: %.80q", body)
		}
		return "ok", answer.Pod
	}
}

func askDNS(name string) func(context.Context) (string, string) {
	return func(ctx context.Context) (string, string) {
		addresses, err := newResolver().LookupNetIP(ctx, "ip4", name)
		switch {
		case err == nil && len(addresses) > 0:
			return "ok", addresses[0].String()
		case err == nil:
			return "failed", "no address"
		case timedOut(err):
			return "unknown", err.Error()
		}
		return "failed", err.Error()
	}
}

func run(ctx context.Context, l lane, timeout time.Duration, open *sync.WaitGroup) {
	room := make(chan struct{}, int(timeout/l.interval)+1+spare)
	origin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for number := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case room <- struct{}{}:
			open.Add(1)
			go func() {
				defer open.Done()
				defer func() { <-room }()
				limit, cancel := context.WithTimeout(context.Background(), timeout)
				defer cancel()
				start := time.Now()
				outcome, detail := l.ask(limit)
				print(sample{l.name, calendar(start), calendar(time.Now()), outcome, detail})
			}()
		default:
			// Passed over: a gap between two starts, which is reported as a stall.
		}
		number = max(number+1, int64(time.Since(origin)/l.interval))
		timer.Reset(time.Until(origin.Add(time.Duration(number) * l.interval)))
	}
}

func tellCost(lanes int) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	used := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	print(cost{used.Seconds(), calendar(began), calendar(time.Now()), lanes})
}

func main() {
	timeout := flag.Duration("timeout", time.Second, "how long each question has")
	flag.Parse()
	var lanes []lane
	for _, argument := range flag.Args() {
		parsed, err := parse(argument)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		lanes = append(lanes, parsed)
	}
	if len(lanes) == 0 {
		fmt.Fprintln(os.Stderr, "nothing to ask")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	var loops, open sync.WaitGroup
	for _, l := range lanes {
		loops.Add(1)
		go func() {
			defer loops.Done()
			run(ctx, l, *timeout, &open)
		}()
	}
	every := time.NewTicker(10 * time.Second)
	defer every.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-every.C:
			tellCost(len(lanes))
		}
	}
	loops.Wait()
	open.Wait()
	tellCost(len(lanes))
}
