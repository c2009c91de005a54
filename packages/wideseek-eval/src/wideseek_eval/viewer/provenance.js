"use strict";
// Where a cell of the answer comes from: the tool results that hold its text.

const plainText = (text) => String(text ?? "").toLowerCase().replace(/[*_`|]/g, "").replace(/\s+/g, " ").trim();

// The text of a result as it is searched; a page is searched for every cell of a table.
const searched = new WeakMap();
function textOf(result) {
  if (!searched.has(result)) searched.set(result, plainText(result.text));
  return searched.get(result);
}

// Places in an episode (agent, turn, result) whose text holds a value; those that hold the row's
// key as well come first; then pages that were opened, lists of results, and reports of subagents.
function findSources(episode, value, key) {
  const wanted = plainText(value), row = plainText(key);
  if (!episode || wanted === "") return [];
  const found = [];
  for (const agent of episode.trajectories) {
    agent.turns.forEach((turn, at) => {
      const names = turn.calls.flatMap((call) => requestsOf(call).map(() => call.name));
      turn.results.forEach((result, index) => {
        const text = textOf(result);
        if (!result.ok || !text.includes(wanted)) return;
        const tool = result.tool || (names[index] ?? turn.calls[0]?.name ?? "");
        const kind = tool === "access" ? 2 : tool === "search" ? 1 : 0;
        found.push({
          agent: agent.agent, turn: at, result: index, request: result.request, tool,
          rank: (row !== "" && text.includes(row) ? 3 : 0) + kind,
        });
      });
    });
  }
  return found.sort((a, b) => b.rank - a.rank).slice(0, 8);
}

// The single requests of a call: its longest list of arguments, or the call itself.
function requestsOf(call) {
  const lists = Object.values(call.arguments).filter(Array.isArray);
  return lists.length ? lists.reduce((a, b) => (b.length > a.length ? b : a)) : [call.arguments];
}
