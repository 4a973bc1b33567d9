"use strict";

const make = (tag, text, parent) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
};

const rows = (title, entries, parent) => {
  if (entries.length === 0) return;
  make("h4", title, parent);
  const table = make("table", undefined, parent);
  for (const cells of entries) {
    const row = make("tr", undefined, table);
    cells.forEach((cell, index) => make(index ? "span" : "code", cell ?? "", make("td", undefined, row)));
  }
};

const resolve = (description, schema) => {
  const name = schema?.$ref?.split("/").pop();
  return name ? description.components.schemas[name] : schema;
};

const showRoute = (description, method, path, route, parent) => {
  const box = make("details", undefined, parent);
  const summary = make("summary", undefined, box);
  make("b", method.toUpperCase(), summary);
  make("code", path, summary);
  make("span", ` ${route.summary ?? ""}`, summary);
  rows("Parameters", (route.parameters ?? []).map((one) => [one.name, `${one.in}${one.required ? ", required" : ""}`, one.description]), box);
  const body = route.requestBody?.content?.["application/json"]?.schema;
  if (body) {
    make("h4", "Body", box);
    make("pre", JSON.stringify(resolve(description, body.items ?? body), null, 2), box);
  }
  rows("Answers", Object.entries(route.responses ?? {}).map(([status, answer]) => [status, answer.description]), box);
};

fetch("/openapi.json").then((answer) => answer.json()).then((description) => {
  document.getElementById("about").textContent = description.info.description;
  const parent = document.getElementById("routes");
  parent.replaceChildren();
  const groups = new Map();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const tag = route.tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([method, path, route]);
    }
  }
  for (const [tag, routes] of groups) {
    make("h2", tag, parent);
    routes.forEach(([method, path, route]) => showRoute(description, method, path, route, parent));
  }
});
