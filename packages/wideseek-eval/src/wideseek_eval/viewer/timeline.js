"use strict";
// The agents of a rollout side by side in time: what each did, and where it waited.

const KINDS = {
  model: "model",
  tool: "tools",
  agents: "waiting for subagents",
  idle: "idle",
};
// A gap is shown as idle from this share of the rollout on; shorter ones are bookkeeping.
const SHORTEST_IDLE = 0.004;

// What an agent did when: segments {kind, start, end, turn} in order. What lies between a model's
// reply and the next request without a tool that worked is idle.
function segmentsOf(agent, whole) {
  const found = [];
  agent.turns.forEach((turn, at) => {
    const asked = turn.started_s, answered = asked + turn.seconds;
    if (turn.seconds > 0) found.push({ kind: "model", start: asked, end: answered, turn: at });
    const timed = turn.results.filter((result) => result.seconds > 0);
    if (timed.length) {
      found.push({
        kind: timed.some((result) => result.agent !== null && result.agent !== undefined) ? "agents" : "tool",
        start: Math.min(...timed.map((result) => result.started_s)),
        end: Math.max(...timed.map((result) => result.started_s + result.seconds)),
        turn: at,
      });
    } else if (turn.results.length && agent.turns[at + 1]?.seconds > 0) {
      // A record without times of single tools: everything up to the next turn counts as theirs.
      found.push({ kind: "tool", start: answered, end: agent.turns[at + 1].started_s, turn: at });
    }
  });
  found.sort((a, b) => a.start - b.start);
  return withIdle(found, agent, SHORTEST_IDLE * whole);
}

function withIdle(found, agent, shortest) {
  const all = [];
  let now = agent.started_s, turn = 0;
  for (const segment of found) {
    if (segment.start - now > shortest) all.push({ kind: "idle", start: now, end: segment.start, turn });
    all.push(segment);
    now = Math.max(now, segment.end);
    turn = segment.turn;
  }
  const end = agent.started_s + agent.seconds;
  if (end - now > shortest) all.push({ kind: "idle", start: now, end, turn });
  return all;
}

function Timeline({ episode, jump }) {
  const agents = episode.trajectories;
  const whole = Math.max(episode.seconds, ...agents.map((agent) => agent.started_s + agent.seconds), 0);
  const rows = useMemo(() => agents.map((agent) => segmentsOf(agent, whole)), [episode]);
  if (!(whole > 0) || !rows.some((row) => row.some((segment) => segment.kind === "model"))) return null;
  const left = 150, width = 850, high = 20;
  const x = (value) => left + (width * value) / whole;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => part * whole);
  const spent = (kind) => rows.flat().filter((segment) => segment.kind === kind)
    .reduce((sum, segment) => sum + segment.end - segment.start, 0);
  const described = (agent, { kind, start, end, turn }) =>
    `${nameOf(agent)}, turn ${turn + 1}: ${KINDS[kind]}, ${seconds(end - start)}`
    + (kind === "model" ? `, ${counted(agent.turns[turn].response_tokens, "token")}` : "");
  return html`<figure class="card scroll" tabindex="0"><figcaption>Agents side by side, with seconds over all of them:${" "}
      ${Object.entries(KINDS).map(([kind, label]) => html`<span class=${`key ${kind}`}>${label} ${seconds(spent(kind))}</span>${" "}`)}</figcaption>
    <svg class="timeline" viewBox=${`0 0 ${left + width + 20} ${agents.length * high + 26}`} role="img"
      aria-label=${`Timeline of ${counted(agents.length, "agent")} over ${seconds(whole)}`}>
      ${ticks.map((tick) => html`<g><line class="grid" x1=${x(tick)} x2=${x(tick)} y1="0" y2=${agents.length * high} />
        <text class="note" x=${x(tick)} y=${agents.length * high + 16} text-anchor="middle">${seconds(tick)}</text></g>`)}
      ${agents.map((agent, row) => html`<g class="lane" onClick=${() => jump(`agent-${agent.agent}`)}>
        <text x=${left - 8} y=${row * high + 14} text-anchor="end" class=${agent.status === "finished" ? "" : "failed"}>${nameOf(agent)}</text>
        <rect class=${"span " + (agent.status === "finished" ? "" : "failed")} x=${x(agent.started_s)} y=${row * high + 3}
          width=${Math.max(1, x(agent.seconds) - left)} height=${high - 6}>
          <title>${nameOf(agent)}: ${agent.status}, ${seconds(agent.seconds)}</title></rect>
        ${rows[row].map((segment) => html`<rect class=${segment.kind} x=${x(segment.start)} y=${row * high + 4}
          width=${Math.max(1, x(segment.end - segment.start) - left)} height=${high - 8}
          onClick=${(event) => { event.stopPropagation(); jump(`turn-${agent.agent}-${segment.turn}`); }}>
          <title>${described(agent, segment)}</title></rect>`)}
      </g>`)}
    </svg></figure>`;
}
