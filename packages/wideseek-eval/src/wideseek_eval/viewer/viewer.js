"use strict";
const lines = JSON.parse(document.getElementById("lines").textContent);
const details = document.getElementById("details").textContent.trim().split("\n");
const detailOf = (at) => JSON.parse(details[at]);
const title = document.body.dataset.title;
const training = lines.some((line) => line.step !== null);
const PAGE = 300;

// ---- the table of all rollouts -----------------------------------------------------------------

const COLUMNS = [
  ["step", "Step", (line) => line.step, (line) => line.step],
  ["task", "Question", (line) => line.question || line.task_id, (line) => line.question || line.task_id],
  ["trial", "Trial", (line) => line.trial, (line) => line.trial],
  ["ending", "Ending", (line) => line.ending, (line) => line.ending],
  ["score", "Score", (line) => line.score ?? -1, (line) => digits(line.score)],
  ["reward", "Reward", (line) => line.reward ?? -1, (line) => digits(line.reward)],
  ["subagents", "Subagents", (line) => line.subagents, (line) => line.subagents],
  ["turns", "Turns", (line) => line.turns, (line) => line.turns],
  ["searches", "Searches", (line) => line.searches, (line) => line.searches],
  ["accesses", "Pages", (line) => line.accesses, (line) => line.accesses],
  ["tokens", "Tokens", (line) => line.tokens, (line) => line.tokens.toLocaleString("en")],
  ["seconds", "Time", (line) => line.seconds, (line) => seconds(line.seconds)],
].filter(([name]) => training || !["step", "reward"].includes(name));
const NUMBERS = new Set(COLUMNS.map(([name]) => name).filter((name) => !["task", "ending"].includes(name)));

function matches(line, filters) {
  const words = filters.text.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${line.task_id} ${line.question} ${line.source} ${line.language}`.toLowerCase();
  return words.every((word) => text.includes(word))
    && (filters.ending === "" || line.ending === filters.ending)
    && (filters.source === "" || line.source.split("/")[0] === filters.source)
    && (filters.step === "" || String(line.step) === filters.step)
    && (filters.low === 0 && filters.high === 1
      || line.score !== null && line.score >= filters.low && line.score <= filters.high);
}

function chosen(filters, order) {
  const column = COLUMNS.find(([name]) => name === order.name);
  const found = lines.map((_, at) => at).filter((at) => matches(lines[at], filters));
  if (!column) return found;
  const value = column[2], sign = order.down ? -1 : 1;
  return found.sort((a, b) => {
    const x = value(lines[a]), y = value(lines[b]);
    return sign * (x < y ? -1 : x > y ? 1 : 0) || a - b;
  });
}

const count = (values) => {
  const found = new Map();
  for (const value of values) found.set(value, (found.get(value) ?? 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1]);
};

function Filters({ filters, change, shown }) {
  const endings = useMemo(() => count(lines.map((line) => line.ending)), []);
  const sources = useMemo(() => count(lines.map((line) => line.source.split("/")[0])), []);
  const steps = useMemo(() => [...new Set(lines.map((line) => line.step))], []);
  const set = (name, value) => change({ ...filters, [name]: value });
  return html`<form class="filters" onSubmit=${(event) => event.preventDefault()}>
    <label>Search <input id="search" type="search" value=${filters.text} placeholder="question, id, source"
      onInput=${(event) => set("text", event.target.value)} /></label>
    <label>Ending <select value=${filters.ending} onChange=${(event) => set("ending", event.target.value)}>
      <option value="">all</option>
      ${endings.map(([name, many]) => html`<option value=${name}>${name} (${many})</option>`)}
    </select></label>
    ${sources.length > 1 && html`<label>Source <select value=${filters.source} onChange=${(event) => set("source", event.target.value)}>
      <option value="">all</option>
      ${sources.map(([name, many]) => html`<option value=${name}>${name || "unnamed"} (${many})</option>`)}
    </select></label>`}
    ${training && html`<label>Step <select value=${filters.step} onChange=${(event) => set("step", event.target.value)}>
      <option value="">all</option>
      ${steps.map((step) => html`<option value=${String(step)}>${step}</option>`)}
    </select></label>`}
    <label>Score from <input type="number" min="0" max="1" step="0.05" value=${filters.low}
      onInput=${(event) => set("low", Number(event.target.value))} /></label>
    <label>to <input type="number" min="0" max="1" step="0.05" value=${filters.high}
      onInput=${(event) => set("high", Number(event.target.value))} /></label>
    <output>${shown} of ${lines.length}</output>
  </form>`;
}

// Distances of marks on an axis that counts.
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000];

function Overview({ found }) {
  const place = useRef(null);
  const points = useMemo(() => overviewPoints(found), [found]);
  useEffect(() => {
    if (!place.current || points.x.length < 2) return undefined;
    const style = getComputedStyle(document.body);
    const ink = style.getPropertyValue("--soft"), line = style.getPropertyValue("--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    const chart = new uPlot({
      width: Math.min(place.current.clientWidth, 1100), height: 170, legend: { show: false },
      cursor: { show: false }, scales: { x: { time: false }, y: { range: [0, 1] } },
      axes: [{ ...axis, label: points.label, labelSize: 16, labelGap: 0, size: 34, incrs: WHOLE }, axis],
      series: [{}, { stroke: style.getPropertyValue("--blue"), width: 2, points: { show: points.x.length < 80 } }],
    }, [points.x, points.y], place.current);
    return () => chart.destroy();
  }, [points]);
  if (points.x.length < 2) return null;
  return html`<figure class="card"><figcaption>${points.title}</figcaption><div ref=${place}></div></figure>`;
}

function overviewPoints(found) {
  const scored = found.map((at) => lines[at]).filter((line) => line.score !== null);
  if (!training) {
    const scores = scored.map((line) => line.score).sort((a, b) => a - b);
    return { title: "Scores of the rollouts below, lowest first", label: "rollout", x: scores.map((_, at) => at + 1), y: scores };
  }
  const steps = new Map();
  for (const line of scored) steps.set(line.step, [...(steps.get(line.step) ?? []), line.score]);
  const x = [...steps.keys()].sort((a, b) => a - b);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  return { title: "Mean score of the rollouts below, by step", label: "step", x, y: x.map((step) => mean(steps.get(step))) };
}

function Rollouts({ filters, change, order, sort, found, open }) {
  const [most, more] = useState(PAGE);
  const head = ([name, label]) => html`<th scope="col" class=${NUMBERS.has(name) ? "number" : ""}
    aria-sort=${order.name === name ? (order.down ? "descending" : "ascending") : "none"}>
    <button onClick=${() => sort(name)}>${label}${order.name === name ? (order.down ? " ↓" : " ↑") : ""}</button></th>`;
  const cell = (line, [name, , , text]) => html`<td class=${NUMBERS.has(name) ? "number" : name}>
    ${name === "score" ? html`<span class=${"pill " + verdict(line.score)}>${text(line)}</span>` : text(line)}</td>`;
  return html`<h1>${title}</h1>
    <${Filters} filters=${filters} change=${change} shown=${found.length} />
    <${Overview} found=${found} />
    <div class="card scroll" tabindex="0"><table class="rollouts">
      <caption>Rollouts; a click opens one</caption>
      <thead><tr>${COLUMNS.map(head)}</tr></thead>
      <tbody>${found.slice(0, most).map((at) => html`<tr key=${at} tabindex="0"
        onClick=${() => open(at)} onKeyDown=${(event) => event.key === "Enter" && open(at)}>
        ${COLUMNS.map((column) => cell(lines[at], column))}</tr>`)}</tbody>
    </table></div>
    ${found.length > most && html`<button class="more" onClick=${() => more(most + 1000)}>Show more (${found.length - most})</button>`}
    ${found.length === 0 && html`<p>No rollout matches.</p>`}`;
}

// ---- one rollout -------------------------------------------------------------------------------

function splitThinking(text) {
  const end = text.indexOf("</think>");
  if (end < 0) return text.trimStart().startsWith("<think>") ? [text, ""] : ["", text];
  return [text.slice(0, end).replace(/^\s*<think>/, "").trim(), text.slice(end + 8).trim()];
}

const endOf = (finish) =>
  finish === "stop" ? "" : finish === "trimmed" ? ", repeats at its end removed" : `, ended by ${finish}`;

function Turn({ agent, turn, at, jump, children, tokens, open }) {
  const [thinking, text] = splitThinking(turn.text);
  const rest = turn.calls.length ? text.replace(/<tool_call>[\s\S]*?<\/tool_call>/g, "").trim() : text;
  return html`<section class="turn" id=${`turn-${agent}-${at}`}>
    <h2>Turn ${at + 1} <small>${turn.prompt_tokens} + ${counted(turn.response_tokens, "token")}${turn.seconds > 0 ? `, ${seconds(turn.seconds)}` : ""}${endOf(turn.finish)}</small></h2>
    ${turn.reasoning && html`<details class="thinking"><summary>Thinking</summary><pre tabindex="0">${turn.reasoning}</pre></details>`}
    ${thinking && html`<details class="thinking"><summary>Thinking</summary><pre tabindex="0">${thinking}</pre></details>`}
    ${rest && html`<${Markdown} text=${rest} />`}
    ${rest !== text && html`<details class="thinking"><summary>Text as written</summary><pre tabindex="0">${text}</pre></details>`}
    ${tokens && html`<${Tokens} turn=${tokens} open=${open} />`}
    ${turn.calls.map((call) => html`<div class="call"><b>${call.name}</b> <code>${JSON.stringify(call.arguments)}</code></div>`)}
    ${turn.dropped_calls > 0 && html`<p class="problem">dropped: ${counted(turn.dropped_calls, "call")}.</p>`}
    ${(turn.notes ?? []).map((note) => html`<p class="problem">${note}</p>`)}
    ${children.length > 0 && html`<p>Started ${children.map((child) => html`<button class="link started"
      onClick=${() => jump(`agent-${child.agent}`)}>${nameOf(child)}</button>`)}</p>`}
    ${turn.results.map((result, index) => html`<details class=${"result " + (result.ok ? "" : "failed")} id=${`result-${agent}-${at}-${index}`}>
      <summary>${result.ok ? "Result" : "Failure"}: ${result.request}</summary><${Markdown} text=${result.text} /></details>`)}
  </section>`;
}

function Agent({ agent, all, jump, tokens, open }) {
  const children = (at) => all.filter((other) => other.parent === agent.agent && other.parent_turn === at);
  return html`<details class="agent card" id=${`agent-${agent.agent}`} open=${agent.agent === 0}>
    <summary><b>${nameOf(agent)}</b> <span class=${"pill " + (agent.status === "finished" ? "good" : "poor")}>${agent.status}</span>${" "}
      <span class="prompt">${agent.prompt}</span>${" "}<small>${counted(agent.turns.length, "turn")}${agent.seconds > 0 ? `, ${seconds(agent.seconds)}` : ""}</small></summary>
    ${agent.error && html`<p class="problem">${agent.error}</p>`}
    ${agent.turns.map((turn, at) => html`<${Turn} agent=${agent.agent} turn=${turn} at=${at} jump=${jump} children=${children(at)}
      tokens=${tokens.get(`${agent.agent}-${at}`)} open=${open} />`)}
  </details>`;
}

const KIND_LABELS = { joined: "in both", missing: "missing", extra: "too many" };
const agentLabel = (agent) => (agent === 0 ? "lead" : `subagent ${agent}`);

// Where the values of a table come from: the best place of each cell of the answer.
function sourcesOfCells(diff, episode) {
  return diff.rows.map((row) => row.cells.map(({ answer }) =>
    row.kind === "missing" || !answer ? null : findSources(episode, answer, keyOf(row))[0] ?? "none"));
}

const keyOf = (row) => row.cells[0].answer || row.cells[0].gold;

function SourceLink({ source, jump }) {
  if (!source) return null;
  if (source === "none") return html`<span class="source none" title="In no result that an agent saw">no source</span>`;
  const about = `${agentLabel(source.agent)}, turn ${source.turn + 1}, ${source.tool}: ${source.request}`;
  return html`<button class="source" title=${`Source: ${about}`} onClick=${() => jump(`result-${source.agent}-${source.turn}-${source.result}`)}>
    ${source.agent === 0 ? "lead" : `s${source.agent}`}${source.tool === "access" ? " page" : ""}</button>`;
}

function AnswerTable({ diff, episode, jump }) {
  const [asked, ask] = useState(null);
  const sources = useMemo(() => (asked ? findSources(episode, asked.value, asked.key) : []), [asked]);
  const links = useMemo(() => (episode ? sourcesOfCells(diff, episode) : null), [diff, episode]);
  const cell = (row, number, at) => {
    const { answer, gold, score } = row.cells[at];
    const kind = row.kind !== "joined" ? row.kind : score >= 1 ? "right" : score > 0 ? "partly" : "wrong";
    const value = row.kind === "missing" ? gold : answer;
    const corrected = kind === "wrong" || kind === "partly";
    return html`<td class=${kind}><button onClick=${() => ask({ value, key: keyOf(row) })} title=${`${LABELS[kind]}; all places it is in`}>
      ${corrected ? html`<del>${answer || "∅"}</del> <ins>${gold || "∅"}</ins>` : value || "∅"}</button>
      ${links && html` <${SourceLink} source=${links[number][at]} jump=${jump} />`}</td>`;
  };
  return html`<div class="card scroll" tabindex="0"><table class="diff">
      <caption>The answer beside its reference. A small button leads to the subagent and page that a value comes from;
        a click on a value lists all places.</caption>
      <thead><tr><th scope="col">row</th>${diff.columns.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
      <tbody>${diff.rows.map((row, number) => html`<tr><th scope="row">${KIND_LABELS[row.kind]}</th>
        ${row.cells.map((_, at) => cell(row, number, at))}</tr>`)}</tbody></table>
    ${asked && html`<div class="sources" role="status"><b>“${asked.value}”</b>
      ${sources.length === 0 ? " is in no result that an agent saw." : html`${" is in:"}<ul>${sources.map((source) => html`<li><button class="link" onClick=${() => jump(`result-${source.agent}-${source.turn}-${source.result}`)}>
          ${agentLabel(source.agent)}, turn ${source.turn + 1}, ${source.tool}: ${source.request}</button></li>`)}</ul>`}
    </div>`}</div>`;
}

const LABELS = { right: "Right", partly: "Partly right", wrong: "Wrong", missing: "Missing", extra: "Too many" };

function factsOf(line) {
  const training = line.step === null ? [] : [`step ${line.step}`, `reward ${digits(line.reward, 3)}`];
  return [line.ending, line.task_id, `trial ${line.trial}`, ...training, counted(line.subagents, "subagent"),
    counted(line.searches, "search", "searches"), counted(line.accesses, "page"), seconds(line.seconds)].join(" · ");
}

function Rollout({ at, found, open, tokensOpen }) {
  const line = lines[at];
  const detail = useMemo(() => detailOf(at), [at]);
  const episode = detail.episode;
  const tokens = useMemo(() => new Map(detail.tokens.map((turn) => [`${turn.agent}-${turn.turn}`, turn])), [detail]);
  const here = found.indexOf(at);
  const jump = (id) => {
    const place = document.getElementById(id);
    for (let node = place; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    place?.scrollIntoView({ block: "start" });
  };
  return html`<nav class="rollout-nav"><button onClick=${() => open(null)}>← all rollouts</button>
      <button disabled=${here <= 0} onClick=${() => open(found[here - 1])}>previous</button>
      <button disabled=${here < 0 || here + 1 >= found.length} onClick=${() => open(found[here + 1])}>next</button>
      <span>${here + 1} of ${found.length}</span></nav>
    <h1>${line.question || line.task_id}</h1>
    <p class="facts"><span class=${"pill " + verdict(line.score)}>${digits(line.score)}</span> ${factsOf(line)}</p>
    ${detail.error && html`<p class="problem">${detail.error}</p>`}
    ${detail.message && html`<p class="judge">Judge: ${detail.message}</p>`}
    ${detail.diff && html`<${AnswerTable} diff=${detail.diff} episode=${episode} jump=${jump} />`}
    ${!detail.diff && html`<section class="card"><h2>Answer</h2>${detail.answer ? html`<${Markdown} text=${detail.answer} />` : "(empty)"}
      ${detail.reference.length > 0 && html`<h2>Reference</h2><ul>${detail.reference.map((text) => html`<li>${text}</li>`)}</ul>`}</section>`}
    ${episode ? html`<${Timeline} episode=${episode} jump=${jump} />
      ${episode.trajectories.map((agent) => html`<${Agent} key=${`${at}-${agent.agent}`} agent=${agent} all=${episode.trajectories} jump=${jump}
        tokens=${tokens} open=${tokensOpen} />`)}`
      : html`<p>This run kept no episodes (run.keep_episodes=none).</p>`}`;
}

// ---- the page ----------------------------------------------------------------------------------

const fromHash = () => {
  const found = /^#r(\d+)$/.exec(location.hash);
  return found && Number(found[1]) < lines.length ? Number(found[1]) : null;
};

function toggleAgents() {
  const agents = [...document.querySelectorAll("details.agent")];
  const open = !agents.every((agent) => agent.open);
  for (const agent of agents) agent.open = open;
}

function App() {
  const [filters, change] = useState({ text: "", ending: "", source: "", step: "", low: 0, high: 1 });
  const [order, setOrder] = useState({ name: "", down: false });
  const [at, setAt] = useState(fromHash());
  const [tokensOpen, openTokens] = useState(false);
  const found = useMemo(() => chosen(filters, order), [filters, order]);
  const open = (next) => {
    history.pushState(null, "", next === null ? "#" : `#r${next}`);
    setAt(next);
    scrollTo(0, 0);
  };
  const sort = (name) => setOrder({ name, down: order.name === name ? !order.down : NUMBERS.has(name) });
  useEffect(() => {
    const moved = () => setAt(fromHash());
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  useEffect(() => {
    const pressed = (event) => {
      if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
        if (event.key === "Escape") event.target.blur();
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const here = found.indexOf(at);
      if (event.key === "/" && at === null) {
        event.preventDefault();
        document.getElementById("search")?.focus();
      } else if (event.key === "Escape" && at !== null) open(null);
      else if (event.key === "j" && here + 1 < found.length) open(found[at === null ? 0 : here + 1]);
      else if (event.key === "k" && here > 0) open(found[here - 1]);
      else if (event.key === "t" && at !== null) openTokens((opened) => !opened);
      else if (event.key === "e" && at !== null) toggleAgents();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [found, at]);
  return html`<main>${at === null
    ? html`<${Rollouts} filters=${filters} change=${change} order=${order} sort=${sort} found=${found} open=${open} />`
    : html`<${Rollout} key=${at} at=${at} found=${found} open=${open} tokensOpen=${tokensOpen} />`}
    <footer>${at === null ? "Keys: / searches, j opens the first." : "Keys: j next, k previous, e opens or closes all agents, t their tokens, Esc back."}</footer></main>`;
}

document.getElementById("app").textContent = "";
render(html`<${App} />`, document.getElementById("app"));
document.body.dataset.ready = "1";
