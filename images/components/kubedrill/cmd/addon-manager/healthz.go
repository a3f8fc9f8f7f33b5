package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// pulse tells a liveness probe whether rounds go on: an API that is away does not count against them, a call that hangs
// beyond its limit does.
type pulse struct {
	newest atomic.Int64
	within time.Duration
	now    func() time.Time
}

func newPulse(within time.Duration, now func() time.Time) *pulse {
	made := &pulse{within: within, now: now}
	made.beat()
	return made
}

func (p *pulse) beat() {
	p.newest.Store(p.now().UnixNano())
}

func (p *pulse) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" {
		http.NotFound(w, r)
		return
	}
	silent := p.now().Sub(time.Unix(0, p.newest.Load()))
	if silent > p.within {
		http.Error(w, fmt.Sprintf("nothing was done for %s", silent), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
