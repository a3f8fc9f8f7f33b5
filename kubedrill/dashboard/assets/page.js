"use strict";
import { breakable, byId, clock, fill, make, row, seconds, strip, tick } from "./draw.js";

const known = { cluster: null, nodes: [], pods: [], leases: { leaders: [], nodes: [] }, events: [], control: null, drill: null };
const connection = { open: false, lost: 0 };
const badge = (text, kind, title) => make("span", { text, kind: `badge ${kind}`, title });
const short = (name) => (known.cluster && name.startsWith(`${known.cluster.name}-`) ? name.slice(known.cluster.name.length + 1) : name);

// Computers that Kubernetes knows nothing of.
const outside = (role) => role === "load-balancer" || role === "etcd";

const drawNodes = () => {
  // What was true before the API fell silent is shown, but not as true now.
  const silent = known.control?.api?.answers === false;
  const leases = new Map(known.leases.nodes.map((lease) => [lease.name, lease]));
  fill(byId("nodes"), known.nodes, (node) => node.name, ({ name, role, address, state, node }) => {
    const lease = leases.get(name);
    const computer = badge(state, { running: "good", paused: "doubt" }[state] ?? "bad");
    const kubernetes = make("td", {});
    if (outside(role)) kubernetes.append(make("span", { text: "not part of it", kind: "dim" }));
    else if (!node) kubernetes.append(make("span", { text: "not registered", kind: "dim" }));
    else {
      const said = { true: ["Ready", "good"], false: ["NotReady", "bad"], null: ["Unknown", "bad"] }[node.ready];
      kubernetes.append(badge(said[0], silent ? "plain" : said[1], node.why), " ", node.cordoned ? badge("cordoned", "doubt") : "");
      if (!node.ready) kubernetes.append(make("small", { text: node.why, kind: "wrong" }));
    }
    return row(
      make("th", {}, short(name), make("small", { text: address })),
      make("td", {}, computer),
      kubernetes,
      make("td", {}, ...(node?.taints ?? []).map((taint) => make("small", { kind: "taint" }, ...breakable(taint)))),
      make("td", { kind: "number" }, lease ? make("span", { at: lease.renewed, of: lease.duration }) : ""),
    );
  });
};

const drawControl = () => {
  const { servers, members, api, etcd } = known.control ?? { servers: [], members: [], api: null, etcd: "" };
  const roles = { leads: "good", follows: "plain", learner: "doubt", "not known": "doubt" };
  // Where etcd has computers of its own, they have no API server.
  const apart = members.filter((member) => !servers.some((server) => server.node === member.node));
  const rows = [...servers, ...apart.map(({ node }) => ({ node, apart: true }))];
  fill(byId("control"), rows, (server) => server.node, (server) => {
    const member = members.find((one) => one.node === server.node);
    const held = known.leases.leaders.filter((lease) => lease.holder === server.node);
    const answers = make("td", {}, server.apart ? make("span", { text: "none here", kind: "dim" }) : badge(server.answers ? "answers" : "silent", server.answers ? "good" : "bad"));
    if (!server.apart) answers.append(make("small", {}, "for ", make("span", { at: server.since })));
    if (!server.apart && !server.answers) answers.append(make("small", { text: server.why, kind: "wrong" }));
    const store = make("td", {});
    if (member) {
      store.append(badge(member.role, roles[member.role] ?? "bad"));
      const size = `${(member.size / 2 ** 20).toFixed(1)} MiB, term ${member.term}`;
      store.append(make("small", { text: member.term ? size : "" }), member.problems ? make("small", { text: member.problems, kind: "wrong" }) : "");
    }
    return row(
      make("th", { text: short(server.node) }), answers, store,
      make("td", {}, ...held.map((lease) => make("div", {}, lease.name,
        make("small", {}, "renewed ", make("span", { at: lease.renewed, of: lease.duration }), " ago")))),
    );
  });
  const parts = [];
  if (api) parts.push(api.answers ? `Through its entrance the API answers since ${clock(api.since)}.` : `Through its entrance the API is silent: ${api.why}.`);
  if (etcd) parts.push(`etcd: ${etcd}.`);
  byId("entrance").textContent = parts.join(" ");
};

const look = (pod) => {
  if (pod.status === "Succeeded" || pod.status === "Completed") return "done";
  if (pod.well) return "";
  return ["Pending", "Starting", "ContainerCreating", "PodInitializing", "Terminating", "Running"].includes(pod.status) ? "wait" : "ill";
};

const drawPod = (pod) => {
  const kind = look(pod);
  const how = make("span", { kind: "how" }, kind ? make("b", { text: pod.status === "Running" ? "not Ready" : pod.status }) : "", pod.ready);
  if (pod.restarts) how.append(make("small", { text: `${pod.restarts} restart${pod.restarts > 1 ? "s" : ""}` }));
  // A static pod is called after its node, which the card names already.
  const name = pod.node && pod.name.endsWith(`-${pod.node}`) ? pod.name.slice(0, -pod.node.length - 1) : pod.name;
  return make("li", { kind: `pod ${kind}`, title: `${pod.name}: ${[pod.status, pod.why].filter(Boolean).join(": ")}` },
    make("i", {}), make("span", {}, name, make("small", {}, `${pod.namespace}, `, make("span", { at: pod.created }))), how);
};

const drawPods = () => {
  const names = known.nodes.filter((node) => !outside(node.role)).map((node) => node.name);
  const elsewhere = [...new Set(known.pods.map((pod) => pod.node))].filter((name) => name && !names.includes(name));
  const places = [...names, ...elsewhere].map((name) => ({ name, pods: known.pods.filter((pod) => pod.node === name) }));
  const loose = known.pods.filter((pod) => !pod.node);
  if (loose.length) places.unshift({ name: "", pods: loose });
  fill(byId("pods"), places, (place) => place.name, ({ name, pods }) => {
    const well = pods.filter((pod) => pod.well).length;
    const title = make("h3", {}, name ? short(name) : "Without a node", make("span", { text: `${well} of ${pods.length} well` }));
    const list = make("ul", {}, ...pods.map(drawPod));
    return make("div", { kind: `place ${name ? "" : "unplaced"}` }, title, list);
  });
  byId("pods-title").textContent = `Pods (${known.pods.length})`;
};

const drawEvents = () => {
  fill(byId("events"), known.events, (event) => [event.at, event.kind, event.namespace, event.name, event.reason, event.message].join("|"), (event) =>
    row(
      make("td", { kind: "number" }, make("span", { at: event.at, title: clock(event.at) })),
      make("td", {}, event.warning ? badge(event.reason, "doubt") : event.reason, event.count > 1 ? make("small", { text: `${event.count} times` }) : ""),
      make("td", {}, `${event.kind} ${event.name}`, make("small", { text: event.namespace })),
      make("td", { text: event.message }),
    ));
};

const drawLane = (going) => (lane) => {
  const [ok, failed, unknown] = lane.counts;
  const words = `${ok} ok, ${failed} failed, ${unknown} without an answer so far`;
  const asked = ok + failed + unknown > 0;
  const now = going && lane.sampled ? (lane.gap ? seconds(lane.gap) : "none") : asked ? "ended" : "at the end";
  return row(
    make("th", { title: words }, lane.title, going && lane.gap ? make("small", { text: lane.detail, kind: "wrong" }) : ""),
    make("td", {}, strip(lane.strip, `${lane.title}: ${words}`)),
    make("td", { kind: `number ${now.endsWith(" s") ? "wrong" : ""}`, text: now }),
    make("td", { kind: "number", text: lane.longest ? seconds(lane.longest) : asked ? "none" : "" }),
  );
};

const drawStep = (step) => {
  const when = step.expected === null ? "" : `expected after about ${step.expected.toFixed(0)} s, `;
  const text = step.measured === null ? step.text : `${step.text}: ${when}seen after ${step.measured.toFixed(1)} s`;
  return make("li", {}, make("span", { kind: "number dim", text: `${step.time.toFixed(1)} s` }), make("span", { text, kind: step.kind }));
};

const drawDrill = () => {
  const { run, broken, left } = known.drill ?? { run: null, broken: [], left: [] };
  fill(byId("broken"), [...broken, ...left.map((fault) => ({ fault, left: true }))], (one) => one.fault, (one) =>
    one.left
      ? make("li", { kind: "left", text: `Left broken by a killed run: ${one.fault}. Mend it with: invoke heal` })
      : make("li", {}, `Broken now: ${one.fault}, for `, make("span", { at: one.since })));
  for (const id of ["drill", "phases", "drill-state"]) byId(id).hidden = !run;
  if (!run) return;
  byId("drill-title").textContent = `Drill ${run.drill}`;
  byId("drill-about").textContent = run.reason || run.title;
  const kinds = { running: "good", passed: "good", failed: "bad", killed: "bad" };
  const state = byId("drill-state");
  const going = run.status === "running";
  state.className = `badge ${kinds[run.status] ?? "doubt"}`;
  state.replaceChildren(...(going ? ["running for ", make("span", { at: run.started })] : [run.status]));
  tick(state);
  const judged = ["passed", "failed", "inconclusive"].includes(run.status);
  const at = judged ? run.phases.length : run.phases.indexOf(run.phase);
  fill(byId("phases"), run.phases, (phase) => phase, (phase) => {
    const item = make("li", { text: phase, kind: run.phases.indexOf(phase) < at ? "past" : "" });
    if (going && phase === run.phase) item.setAttribute("aria-current", "step");
    return item;
  });
  const waiting = going && run.waiting ? [{ time: Date.now() / 1000 - run.started, kind: "wait", text: `waiting: ${run.waiting}`, expected: null, measured: null }] : [];
  fill(byId("steps"), [...waiting, ...run.steps], (step) => `${step.kind} ${step.text}`, drawStep);
  fill(byId("lanes"), run.lanes, (lane) => lane.name, drawLane(going && run.phase !== "verify"));
};

const drawState = () => {
  const { cluster, control } = known;
  const notices = [];
  let [word, kind] = ["connecting", "plain"];
  if (connection.open) [word, kind] = ["live", "good"];
  const lost = Object.keys(control?.lost ?? {});
  if (cluster?.removed) {
    [word, kind] = ["removed", "bad"];
    notices.push(["bad", `The cluster ${cluster.name} was removed at ${clock(cluster.removed)}. If one of its name comes up again, it is shown here.`]);
  } else if (cluster?.problem) {
    [word, kind] = ["not known", "bad"];
    notices.push(["bad", cluster.problem]);
  } else if (control?.api && !control.api.answers) {
    [word, kind] = ["API silent", "bad"];
    notices.push(["bad", `The API has not answered since ${clock(control.api.since)} (${control.api.why}). What Kubernetes says below is as it was then.`]);
  } else if (lost.length) {
    [word, kind] = ["catching up", "doubt"];
    notices.push(["doubt", `No news of ${lost.join(", ")} yet: ${control.lost[lost[0]]}`]);
  }
  if (connection.lost) {
    [word, kind] = ["dashboard ended", "bad"];
    notices.unshift(["bad", `The dashboard has not answered since ${clock(connection.lost)}: what is below is as it was then. Begin it again with: invoke dashboard`]);
  }
  document.body.classList.toggle("stale", Boolean(connection.lost));
  fill(byId("notices"), notices, ([, text]) => text, ([level, text]) => make("p", { kind: `notice ${level}`, text }));
  const state = byId("state");
  // Told anew only where it is new: a screen reader reads each change aloud.
  if (state.textContent !== word) state.textContent = word;
  state.className = `badge ${kind}`;
  if (!cluster) return;
  const members = known.nodes.filter((node) => node.node);
  const ready = members.filter((node) => node.node.ready).length;
  byId("name").textContent = cluster.name;
  byId("about").textContent = [cluster.kubernetes && `Kubernetes ${cluster.kubernetes}`, members.length && `${ready} of ${members.length} nodes Ready`].filter(Boolean).join(", ");
  document.title = `${cluster.name}: ${word === "live" ? `${ready}/${members.length} Ready` : word}`;
};

const draws = {
  cluster: [drawState, drawNodes, drawControl, drawPods], nodes: [drawNodes, drawPods, drawState], pods: [drawPods],
  leases: [drawNodes, drawControl], events: [drawEvents], control: [drawControl, drawNodes, drawState], drill: [drawDrill],
};

// What comes in a burst is drawn once.
const due = new Set();
const drawSoon = (...drawing) => {
  if (!due.size) requestAnimationFrame(() => { const now = [...due]; due.clear(); now.forEach((draw) => draw()); });
  drawing.forEach((draw) => due.add(draw));
};

const changes = new EventSource("changes");
changes.addEventListener("open", () => { Object.assign(connection, { open: true, lost: 0 }); drawSoon(drawState); });
changes.addEventListener("error", () => { connection.lost ||= connection.open ? Date.now() / 1000 : 0; drawSoon(drawState); });
for (const [section, drawing] of Object.entries(draws)) {
  changes.addEventListener(section, (event) => { known[section] = JSON.parse(event.data); drawSoon(...drawing); });
}
setInterval(() => tick(), 1000);
