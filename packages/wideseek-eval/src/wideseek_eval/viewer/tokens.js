"use strict";
// The sampled tokens of a turn: how likely each was, and what training made of them.

// Classes of a token's background, by −log-prob up to the limit.
const SHADES = [[0.1, "p0"], [0.5, "p1"], [1, "p2"], [2, "p3"], [4, "p4"], [Infinity, "p5"]];
const shadeOf = (logprob) => (logprob === null ? "odd" : SHADES.find(([limit]) => -logprob < limit)[1]);
const percent = (logprob) => (100 * Math.exp(logprob)).toPrecision(2) + " %";
const visible = (text) => text.replace(/\n/g, "⏎\n").replace(/\t/g, "→\t");

function tokensOf(turn) {
  return turn.texts.length ? turn.texts : turn.ids.map((id) => `${id} `);
}

function Tokens({ turn, open }) {
  const [shown, show] = useState(open);
  useEffect(() => show(open), [open]);
  const known = turn.logprobs.filter((logprob) => logprob !== null);
  const mean = known.reduce((sum, logprob) => sum + logprob, 0) / Math.max(known.length, 1);
  const trains = turn.advantage !== null;
  const facts = [
    counted(turn.logprobs.length, "token"),
    trains ? `advantage ${signed(turn.advantage, 3)}` : "not trained on",
    trains && `weight ${turn.weight.toPrecision(3)}`,
    `mean log-prob ${signed(mean, 3)}`,
    turn.masked.length > 0 && `${turn.masked.length} masked`,
  ].filter(Boolean);
  const gain = !trains ? "untrained" : turn.advantage > 0 ? "up" : turn.advantage < 0 ? "down" : "even";
  return html`<details class=${`tokens ${gain}`} open=${shown} onToggle=${(event) => show(event.target.open)}>
    <summary>Tokens <small>${facts.join(" · ")}</small></summary>
    ${shown && html`<${TokenText} turn=${turn} />`}</details>`;
}

function TokenText({ turn }) {
  const masked = new Set(turn.masked);
  return html`<p class="scale">How unlikely each token was:${" "}
      ${SHADES.map(([limit, name]) => html`<span class=${`token ${name}`}>${limit === Infinity ? "rarer" : `log-prob to −${limit}`}</span>${" "}`)}
      ${masked.size > 0 && html`<span class="token masked">masked</span>`}</p>
    <pre class="token-text" tabindex="0">${tokensOf(turn).map((text, at) => {
      const logprob = turn.logprobs[at] ?? null;
      const about = logprob === null ? "no log-prob" : `log-prob ${signed(logprob, 4)}, ${percent(logprob)}`;
      return html`<span class=${`token ${shadeOf(logprob)}${masked.has(at) ? " masked" : ""}`} title=${about}>${visible(text)}</span>`;
    })}</pre>`;
}
