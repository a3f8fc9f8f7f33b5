// Command hello answers every request with the pod and the node that it runs on.
//
// HELLO_ADDRESS is where it listens (":8080"); POD_NAME, POD_IP and NODE_NAME come from the pod's downward API. On SIGTERM
// it goes on serving for HELLO_LINGER ("2s") while the endpoints that lead to it are withdrawn, then ends open requests.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

type answer struct {
	Pod     string `json:"pod"`
	IP      string `json:"ip"`
	Node    string `json:"node"`
	Request uint64 `json:"request"`
}

func setting(name, otherwise string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return otherwise
}

func main() {
	hostname, _ := os.Hostname()
	linger, err := time.ParseDuration(setting("HELLO_LINGER", "2s"))
	if err != nil {
		log.Fatalf("HELLO_LINGER: %v", err)
	}
	var served atomic.Uint64
	var ending atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if ending.Load() {
			http.Error(w, "ending", http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer{
			Pod:     setting("POD_NAME", hostname),
			IP:      os.Getenv("POD_IP"),
			Node:    os.Getenv("NODE_NAME"),
			Request: served.Add(1),
		})
	})
	server := &http.Server{
		Addr:              setting("HELLO_ADDRESS", ":8080"),
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-stop.Done()
		ending.Store(true)
		time.Sleep(linger)
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(limit)
	}()
	log.Printf("listening on %s", server.Addr)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-drained
}
