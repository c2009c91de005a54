"use strict";
// What all parts of the page share: components, text of others made safe, numbers as text.

const { html, render, useState, useMemo, useEffect, useRef } = htmPreact;

const counted = (number, thing, several = `${thing}s`) => `${number} ${number === 1 ? thing : several}`;

// ---- text of others, made safe -----------------------------------------------------------------

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  if (!/^https?:\/\//i.test(node.getAttribute("href") ?? "")) node.removeAttribute("href");
  node.setAttribute("rel", "noopener noreferrer nofollow");
  node.setAttribute("target", "_blank");
});

const SAFE = {
  ALLOWED_TAGS: ["a", "p", "br", "hr", "b", "i", "em", "strong", "del", "code", "pre", "blockquote",
    "ul", "ol", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"],
  ALLOWED_ATTR: ["href", "align"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
};

function Markdown({ text }) {
  const made = useMemo(() => {
    try {
      return DOMPurify.sanitize(marked.parse(text, { gfm: true, async: false }), SAFE);
    } catch {
      return null;
    }
  }, [text]);
  const place = useRef(null);
  // What can be scrolled must be reachable by keyboard, and nothing else needs to be.
  useEffect(() => {
    const node = place.current;
    if (node && node.scrollWidth > node.clientWidth) node.tabIndex = 0;
  });
  if (made === null) return html`<pre tabindex="0">${text}</pre>`;
  return html`<div class="markdown" ref=${place} dangerouslySetInnerHTML=${{ __html: made }}></div>`;
}

// ---- numbers -----------------------------------------------------------------------------------

const digits = (value, count = 2) => (value === null || value === undefined ? "–" : value.toFixed(count));
const seconds = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1)) + " s";
const verdict = (score) => (score === null ? "unknown" : score >= 1 ? "good" : score > 0 ? "partly" : "poor");
const signed = (value, count = 2) => (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(count);

const nameOf = (agent) => (agent.role === "subagent" ? `subagent ${agent.agent}` : agent.role);
