/*
 * The emulator's page.  All that comes from records, rules and errors is put
 * into the page as text, by textContent, and never as markup.
 */
"use strict";

const ROWS = 100;       /* of each table */
const WIDTH = 300, HEIGHT = 34;
const SVG = "http://www.w3.org/2000/svg";
const byId = id => document.getElementById(id);
const format = new Intl.NumberFormat("en");

function cell(text, kind) {
    const made = document.createElement("td");
    made.textContent = text === null || text === undefined ? "" : String(text);
    if (kind)
        made.className = kind;
    return made;
}

function row(...cells) {
    const made = document.createElement("tr");
    made.append(...cells);
    return made;
}

function number(value) {
    return cell(format.format(value), "number");
}

function time(seconds) {
    return cell(new Date(seconds * 1000).toTimeString().slice(0, 8), "time");
}

/* A bar for each second: stored from the base up, refused on top of it. */
function plot(name, accepted, refused) {
    const svg = document.createElementNS(SVG, "svg");
    const highest = Math.max(1, ...accepted.map((count, i) => count + refused[i]));
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${name}: at most ${format.format(highest)} records a second`;
    svg.append(title);
    const step = WIDTH / Math.max(1, accepted.length);
    const bars = (kind, heights, bases) => {
        let path = "";
        heights.forEach((count, i) => {
            if (count > 0) {
                const y = bases[i] / highest * (HEIGHT - 2), h = count / highest * (HEIGHT - 2);
                path += `M${(i * step).toFixed(2)} ${(HEIGHT - y).toFixed(2)}v${(-h).toFixed(2)}h${step.toFixed(2)}v${h.toFixed(2)}z`;
            }
        });
        const made = document.createElementNS(SVG, "path");
        made.setAttribute("class", kind);
        made.setAttribute("d", path);
        svg.append(made);
    };
    bars("stored", accepted, accepted.map(() => 0));
    bars("refused", refused, accepted);
    const base = document.createElementNS(SVG, "line");
    base.setAttribute("class", "base");
    base.setAttribute("x2", WIDTH);
    base.setAttribute("y1", HEIGHT);
    base.setAttribute("y2", HEIGHT);
    svg.append(base);
    return svg;
}

function showStreams(state) {
    byId("streams").tBodies[0].replaceChildren(...state.streams.map(stream => {
        const drawn = document.createElement("td");
        drawn.append(plot(stream.name, stream.accepted_by_second, stream.refused_by_second));
        const made = row(cell(stream.name), drawn, number(stream.accepted_by_second.at(-1) ?? 0),
            number(stream.accepted), number(stream.refused), number(stream.bytes),
            number(stream.requests), number(stream.in_flight));
        made.dataset.stream = stream.name;
        return made;
    }));
    byId("more-streams").textContent = state.more_streams ? `and ${state.more_streams} more` : "";
    const names = state.streams.map(stream => stream.name).join("\n");
    if (byId("names").dataset.shown !== names) {
        byId("names").dataset.shown = names;
        byId("names").replaceChildren(...state.streams.map(stream => {
            const option = document.createElement("option");
            option.value = stream.name;
            return option;
        }));
    }
}

/* Rows stay while their rule does, so that a click on one finds its button. */
function showRules(rules) {
    const body = byId("rules").tBodies[0];
    const before = new Map([...body.rows].map(made => [made.dataset.rule, made]));
    body.replaceChildren(...rules.map(rule => {
        const { id, matched, fired, match = {}, action } = rule;
        let made = before.get(String(id));
        if (!made) {
            const off = document.createElement("button");
            off.textContent = "Switch off";
            off.addEventListener("click", () => control("DELETE", `rules/${id}`));
            const last = document.createElement("td");
            last.append(off);
            made = row(cell(match.stream ?? "*"), cell(action.type), cell(JSON.stringify({ match, action }), "data"),
                number(0), number(0), last);
            made.dataset.rule = id;
        }
        made.cells[3].textContent = format.format(matched);
        made.cells[4].textContent = format.format(fired);
        return made;
    }));
}

/* Put rows on top, the newest first, and keep no more than so many. */
function prepend(table, made) {
    const body = byId(table).tBodies[0];
    body.prepend(...made.slice(-ROWS).reverse());
    while (body.rows.length > ROWS)
        body.deleteRow(-1);
}

function showRecords(records) {
    if (byId("pause").checked)
        return;
    prepend("records", records.map(record => row(
        time(record.time), cell(record.stream), number(record.bytes),
        record.error === null ? cell(record.state === "A" ? "stored" : "stored, not said") : cell(record.error, "refused"),
        cell(record.data + (record.cut ? " ..." : ""), "data"))));
}

function showRefusals(refusals) {
    prepend("refusals", refusals.map(refusal => row(
        time(refusal.time), cell(refusal.stream), number(refusal.records),
        cell(refusal.reason, "refused"), cell(refusal.message), cell(refusal.fault))));
}

function clearTables() {
    for (const table of ["records", "refusals"])
        byId(table).tBodies[0].replaceChildren();
}

/* Call /_control/; an error is shown, and null is the answer. */
async function control(method, path, body) {
    byId("fault-error").textContent = "";
    try {
        const reply = await fetch(`/_control/${path}`, { method, body: body && JSON.stringify(body) });
        const text = await reply.text();
        if (!reply.ok)
            throw new Error(text);
        const answer = JSON.parse(text);
        if (method !== "GET")
            showRules((await control("GET", "rules")).rules);
        return answer;
    } catch (error) {
        byId("fault-error").textContent = error.message;
        return null;
    }
}

async function start() {
    const events = new EventSource("/_page/events");
    const on = (name, show) => events.addEventListener(name, event => show(JSON.parse(event.data)));
    events.addEventListener("open", clearTables);
    events.addEventListener("error", () => { byId("summary").textContent = "the emulator does not answer"; });
    on("cleared", clearTables);
    on("records", showRecords);
    on("refusals", showRefusals);
    on("state", state => {
        showStreams(state);
        showRules(state.rules);
        byId("summary").textContent = `${format.format(state.requests)} requests, ${state.connections} connections`
            + (state.clock ? `, clock ${state.clock} s off` : "")
            + (state.more_rules ? `, ${state.more_rules} more rules` : "");
    });

    const actions = await control("GET", "actions") ?? {};
    byId("fault-action").append(...Object.keys(actions).map(name => new Option(name)));
    const explain = () => {
        const { phase, parameters } = actions[byId("fault-action").value];
        byId("fault-action").title = `phase ${phase}; parameters ${JSON.stringify(parameters)}`;
        byId("fault-parameters").placeholder = Object.keys(parameters).join(", ");
    };
    byId("fault-action").value = "throttle";
    byId("fault-action").addEventListener("change", explain);
    explain();
    byId("fault-clear").addEventListener("click", () => control("DELETE", "rules"));
    byId("fault").addEventListener("submit", event => {
        event.preventDefault();
        let parameters;
        try {
            parameters = JSON.parse(byId("fault-parameters").value || "{}");
        } catch {
            byId("fault-error").textContent = "Parameters are a JSON object, such as {\"seconds\": 2}.";
            return;
        }
        const match = { stream: byId("fault-stream").value || "*" };
        if (byId("fault-count").value)
            match.count = Number(byId("fault-count").value);
        control("POST", "rules", { match, action: { type: byId("fault-action").value, ...parameters } });
    });
}

start();
