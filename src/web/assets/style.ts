/** Contrast is WCAG AA in both colour schemes; a test with axe holds it to that. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --sunk: #f1f3f6; --ink: #1b1f24; --soft: #57606a; --line: #d9dee5; --line-strong: #8b949e;
  --accent: #0b5cad; --on-accent: #fff; --focus: #0b5cad;
  --good: #11602a; --good-bg: #ddf6e4; --bad: #a40e26; --bad-bg: #ffebe9; --warn: #734a00; --warn-bg: #fff2cc; --plain: #424a53; --plain-bg: #e9edf1;
  --s-completed: #2a8a47; --s-failed: #cf222e; --s-terminated: #8e4ec6; --s-timed: #b07400; --s-canceled: #76818c; --s-other: #3f7fc1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1115; --card: #161a20; --sunk: #1d222a; --ink: #e6e9ed; --soft: #9ea8b4; --line: #2a313a; --line-strong: #6b7683;
    --accent: #7cbcff; --on-accent: #06203c; --focus: #7cbcff;
    --good: #83e3a5; --good-bg: #10301d; --bad: #ffa39c; --bad-bg: #3d1719; --warn: #f1c877; --warn-bg: #382b0c; --plain: #c3cbd4; --plain-bg: #272e37;
    --s-completed: #4ec374; --s-failed: #ff7b72; --s-terminated: #c297ff; --s-timed: #e0b040; --s-canceled: #8b96a2; --s-other: #7cbcff;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Helvetica, Arial, sans-serif; }
.wide { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 2px; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 4px; }
h1 { font-size: 24px; line-height: 1.25; margin: 0; overflow-wrap: anywhere; letter-spacing: -.01em; }
h2 { font-size: 16px; line-height: 1.3; margin: 0 0 10px; }
h3 { font-size: 14px; margin: 16px 0 6px; overflow-wrap: anywhere; }
p { margin: 0 0 10px; }
code, pre, .key, .string, .number { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; font-size: .88em; }
code { overflow-wrap: anywhere; background: var(--sunk); border-radius: 4px; padding: 1px 4px; }
pre { margin: 0; padding: 12px 14px; background: var(--sunk); border: 1px solid var(--line); border-radius: 8px; overflow: auto; max-height: 480px; white-space: pre-wrap; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-weight: 400; }
.said { position: absolute; width: 1px; height: 1px; margin: -1px; padding: 0; border: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: -999px; top: 8px; background: var(--card); padding: 8px 12px; border-radius: 6px; z-index: 2; }
.skip:focus { left: 12px; }
.icon { flex: none; width: 1em; height: 1em; vertical-align: -.14em; }
.row { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin: 0; }
.row + pre, .row + .row { margin-top: 10px; }
.right { text-align: right; }
[hidden] { display: none !important; }

.top { background: var(--card); border-bottom: 1px solid var(--line); }
.top > div { display: flex; align-items: center; gap: 6px 24px; min-height: 56px; flex-wrap: wrap; }
.brand { display: inline-flex; align-items: center; gap: 9px; color: var(--ink); font-weight: 650; text-decoration: none; padding: 6px 0; }
.brand img { display: block; }
.top nav { display: flex; gap: 2px; flex: 1; flex-wrap: wrap; }
.top nav a { color: var(--soft); text-decoration: none; padding: 6px 11px; border-radius: 7px; font-weight: 500; white-space: nowrap; }
.top nav a:hover { color: var(--ink); background: var(--sunk); }
.top nav a[aria-current] { color: var(--ink); background: var(--sunk); }
.dot { display: inline-block; position: relative; width: 8px; height: 8px; margin-left: 6px; border-radius: 50%; background: var(--bad); vertical-align: 1px; }
main.wide { padding-top: 28px; padding-bottom: 40px; }
footer.wide { color: var(--soft); font-size: 13px; padding-bottom: 32px; }

.head { margin-bottom: 18px; }
.head > * { margin-bottom: 8px; }
.run-head > .row { margin-top: 14px; }
.crumb { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
.with-live { display: flex; align-items: baseline; gap: 14px; }
.with-live > * { margin: 0; }
.head + .lead { margin-top: -8px; }
.live { color: var(--good); font-size: 13px; font-weight: 550; margin: 0; white-space: nowrap; }
.live::before { content: ""; display: inline-block; width: 7px; height: 7px; margin-right: 6px; border-radius: 50%; background: currentColor; vertical-align: 1px; }
.news { position: sticky; top: 10px; z-index: 1; display: flex; justify-content: center; height: 0; margin: 0; }
.news .button { box-shadow: 0 3px 14px rgb(0 0 0 / .25); border-radius: 999px; }
.card-head { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: center; gap: 6px 12px; margin-bottom: 10px; }
.card-head h2 { margin: 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; margin: 0 0 16px; min-width: 0; }
.card > :last-child, .head > :last-child { margin-bottom: 0; }
.bad-card { border-color: var(--bad); background: var(--bad-bg); }
.bad-card h2 { color: var(--bad); }
.bad-card code, .bad-card .soft { background: none; color: var(--ink); }
.bad-card code { border: 1px solid var(--bad); }
.flash, .note { display: flex; gap: 10px; padding: 10px 14px; border-radius: 10px; align-items: flex-start; }
.flash { background: var(--good-bg); color: var(--good); font-weight: 500; margin-bottom: 18px; }
.note { background: var(--warn-bg); color: var(--warn); }
.flash .icon, .note .icon { margin-top: 4px; }
.empty, .notice { text-align: center; padding: 44px 20px; }
.notice > p { max-width: 640px; margin-left: auto; margin-right: auto; overflow-wrap: anywhere; }
.notice h1, .notice p { margin-bottom: 10px; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.text[tabindex] { max-height: 340px; overflow-y: auto; }
.bad-flash { background: var(--bad-bg); color: var(--bad); }
.flash p { margin: 4px 0 0; }
.flash .proof { color: inherit; font-weight: 400; }
.breaks { display: block; overflow-wrap: anywhere; }
.notice-left { max-width: 640px; margin: 0 auto; }
.notice-left h1 { margin: 6px 0 14px; }
.notice-left > .soft { margin: 14px 0; }
.why-line { overflow-wrap: anywhere; }
.error-text { color: var(--bad); font-size: 13.5px; overflow-wrap: anywhere; white-space: pre-wrap; margin-bottom: 8px; }

.badge { display: inline-flex; align-items: center; gap: 5px; padding: 2px 9px 2px 7px; border-radius: 999px; font-size: 13px; font-weight: 600; line-height: 20px; white-space: nowrap; max-width: 100%; overflow: hidden; text-overflow: ellipsis; }
.badge.good { color: var(--good); background: var(--good-bg); }
.badge.bad { color: var(--bad); background: var(--bad-bg); }
.badge.warn { color: var(--warn); background: var(--warn-bg); }
.badge.plain { color: var(--plain); background: var(--plain-bg); }
.run-head .badge { font-size: 14px; padding: 3px 12px 3px 9px; }

.button { display: inline-flex; align-items: center; gap: 7px; min-height: 36px; padding: 6px 14px; border: 1px solid var(--line-strong); border-radius: 8px; background: var(--card); color: var(--ink); font: inherit; font-weight: 550; text-decoration: none; cursor: pointer; }
.button:hover { background: var(--sunk); }
.button.small { min-height: 30px; padding: 3px 11px; font-size: 13.5px; }
.button.primary { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
.button.primary:hover { filter: brightness(1.1); }
.button:disabled { opacity: .55; cursor: default; }
.plain-button { border: 0; background: none; color: var(--soft); font: inherit; cursor: pointer; padding: 6px 4px; }
.plain-button:hover { color: var(--ink); text-decoration: underline; }
form.inline { display: inline-flex; margin: 0; }

.chips { display: flex; flex-wrap: wrap; gap: 6px; margin-bottom: 12px; }
.chip { display: inline-flex; align-items: center; gap: 6px; min-height: 32px; padding: 3px 12px; border: 1px solid var(--line); border-radius: 999px; background: var(--card); color: var(--ink); text-decoration: none; font-size: 14px; overflow-wrap: anywhere; }
.chip:hover { border-color: var(--line-strong); }
.chip.good .icon { color: var(--good); } .chip.bad .icon { color: var(--bad); } .chip.warn .icon { color: var(--warn); } .chip.plain .icon { color: var(--soft); }
.chip[aria-current] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600; }
summary { cursor: pointer; font-weight: 550; }
summary:hover { color: var(--accent); }
.card > details, .section + details { border-top: 1px solid var(--line); padding-top: 10px; margin-top: 12px; }
.card > details > :not(summary) { margin-top: 10px; }
.find { margin-bottom: 14px; }
.search-row { display: flex; gap: 8px; }
.search-row input { flex: 1; min-width: 0; min-height: 42px; padding-left: 14px; }
.hint { font-size: 13px; margin: 6px 2px 8px; }
.filters { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 8px 14px; margin-bottom: 12px; }
.filters summary { font-size: 14px; }
.bulk { margin-bottom: 12px; }

.chart { padding: 14px 16px 10px; margin: 0 0 16px; }
.chart-head { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 4px 18px; font-size: 14px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 13px; }
.key-of { display: inline-flex; align-items: center; gap: 6px; }
.key-of::before { content: ""; width: 10px; height: 10px; border-radius: 2px; background: currentColor; }
.key-of.s-completed::before { background: var(--s-completed); } .key-of.s-failed::before { background: var(--s-failed); } .key-of.s-terminated::before { background: var(--s-terminated); }
.key-of.s-timed_out::before { background: var(--s-timed); } .key-of.s-canceled::before { background: var(--s-canceled); } .key-of.s-other::before { background: var(--s-other); }
.bars { display: block; width: 100%; height: 64px; margin-top: 10px; border-bottom: 1px solid var(--line-strong); }
rect.s-completed { fill: var(--s-completed); } rect.s-failed { fill: var(--s-failed); } rect.s-terminated { fill: var(--s-terminated); }
rect.s-timed_out { fill: var(--s-timed); } rect.s-canceled { fill: var(--s-canceled); } rect.s-other { fill: var(--s-other); }
.bars .none { fill: var(--line); } .bars .hit { fill: transparent; } .bars a:hover .hit { fill: var(--ink); fill-opacity: .1; } .bars .dim rect { opacity: .3; }
.axis { display: flex; justify-content: space-between; font-size: 12px; color: var(--soft); margin-top: 4px; font-variant-numeric: tabular-nums; }
.chart details { font-size: 13px; margin-top: 4px; }
.chart details summary { color: var(--soft); font-weight: 400; }
.chart .scroll { max-height: 240px; overflow-y: auto; margin-top: 8px; }
.numbers th, .numbers td { padding: 4px 12px; white-space: nowrap; }
.latency { margin: 0 0 14px; font-size: 13px; }
.latency svg { display: block; width: 100%; height: auto; max-width: 520px; margin-top: 8px; }
.latency text { fill: var(--soft); font-size: 9.5px; }
.gridline { stroke: var(--line); stroke-width: 1; }
rect.p90 { fill: var(--s-other); fill-opacity: .45; } rect.p50 { fill: var(--s-other); }
.stats { display: flex; flex-wrap: wrap; gap: 2px 22px; margin-top: 4px; font-size: 15px; }
.stat { display: inline-flex; flex-direction: row-reverse; gap: 6px; align-items: baseline; }
.stat .soft { font-size: 13px; }
.chart-none { font-size: 13.5px; }
.fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 12px; margin: 12px 0 14px; }
label { display: grid; gap: 4px; font-size: 13.5px; font-weight: 550; }
input, select { width: 100%; min-height: 38px; padding: 6px 10px; border: 1px solid var(--line-strong); border-radius: 8px; background: var(--card); color: var(--ink); font: inherit; font-weight: 400; }
input::placeholder { color: var(--soft); opacity: 1; }
.pager { display: flex; justify-content: flex-end; gap: 8px; margin-top: 16px; }

.list { width: 100%; border-collapse: separate; border-spacing: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; }
.list th { text-align: left; font-size: 12.5px; font-weight: 600; color: var(--soft); padding: 10px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
.list th.right, .grid th.right, .grid td.right { text-align: right; }
.list td { padding: 11px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
.list tbody tr:last-child td { border-bottom: 0; }
.list tbody tr:hover td { background: var(--sunk); }
.list .title { display: block; color: var(--ink); font-weight: 600; text-decoration: none; overflow-wrap: anywhere; }
.list tr:hover .title { text-decoration: underline; }
.sub.why { color: var(--bad); }
.sub { display: block; color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
.a-type { font-size: 13px; overflow-wrap: anywhere; min-width: 138px; max-width: 170px; }
.a-told { min-width: 180px; }
.aside > span + span::before { content: " · "; } .aside a { color: inherit; text-decoration: none; } .aside a:hover { color: var(--ink); text-decoration: underline; }
.fresh td { animation: fresh 4s ease-out; }
@keyframes fresh { from { background: var(--good-bg); } }
.a-took, .a-time, .a-status, .a-act { white-space: nowrap; font-size: 14px; font-variant-numeric: tabular-nums; }
.a-title { min-width: 220px; width: 50%; }
.ticks { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 12px; margin: 0; padding: 0; font-size: 14px; }
.tick { display: inline-flex; align-items: center; gap: 4px; overflow-wrap: anywhere; position: relative; }
.tick.good .icon { color: var(--good); } .tick.bad, .tick.bad a { color: var(--bad); font-weight: 600; } .tick.warn .icon { color: var(--warn); } .tick.plain { color: var(--soft); }

.columns { display: grid; grid-template: "first side" auto "rest side" 1fr / minmax(0, 1fr) 340px; column-gap: 16px; align-items: start; }
.first { grid-area: first; min-width: 0; } .side { grid-area: side; min-width: 0; } .rest { grid-area: rest; min-width: 0; }
.facts { display: grid; grid-template-columns: fit-content(38%) minmax(0, 1fr); gap: 6px 18px; margin: 0; }
.facts.narrow { grid-template-columns: 100px minmax(0, 1fr); }
.facts dt { color: var(--soft); overflow-wrap: anywhere; }
.facts dd { margin: 0; overflow-wrap: anywhere; white-space: pre-line; }
.facts.narrow { font-size: 14px; }
.facts + .soft { margin-top: 8px; }
.labels code { margin-right: 2px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
.grid { border-collapse: collapse; width: 100%; font-size: 14px; }
.grid th, .grid td { text-align: left; padding: 7px 12px; border-bottom: 1px solid var(--line); vertical-align: top; white-space: pre-wrap; min-width: 70px; max-width: 420px; overflow-wrap: anywhere; }
.grid th { background: var(--sunk); font-weight: 600; font-size: 13px; }
.grid tr:last-child td { border-bottom: 0; }
.section + .section { margin-top: 18px; }
.tree { font-size: 14px; overflow-wrap: anywhere; }
.tree summary { font-weight: 400; }
.tree .branch { border-left: 1px solid var(--line); margin-left: 5px; padding-left: 14px; }
.tree .leaf { padding: 1px 0 1px 15px; }
.tree .key { font-weight: 650; margin-right: 6px; }
.tree .string { white-space: pre-wrap; color: var(--good); }
.tree .number { color: var(--accent); }
.gallery { list-style: none; display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 10px; margin: 0; padding: 0; }
.gallery a { display: block; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; background: var(--sunk); }
.gallery img { display: block; width: 100%; height: auto; aspect-ratio: 16 / 9; object-fit: contain; font-size: 13px; color: var(--soft); }
video { display: block; width: 100%; max-width: 640px; height: auto; aspect-ratio: 16 / 9; border-radius: 8px; background: #000; margin-bottom: 10px; }
.files { list-style: none; margin: 0; padding: 0; display: grid; gap: 6px; }
.files li { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; overflow-wrap: anywhere; }
.files .icon { color: var(--soft); }
.files a { min-width: 0; }
.told { list-style: none; margin: 0; padding: 0; }
.told li { padding: 12px 0; border-top: 1px solid var(--line); }
.told li:first-child { border-top: 0; padding-top: 0; }
.told li:last-child { padding-bottom: 0; }
.told p { margin: 2px 0 8px; font-size: 13.5px; }
.told-head { display: flex; justify-content: space-between; gap: 10px; align-items: center; overflow-wrap: anywhere; margin-bottom: 4px; }
.told-head h2 { margin: 0; }
.told .row { justify-content: space-between; }
.told li > form { margin-top: 4px; }
.proof { color: var(--soft); font-size: 12.5px !important; display: grid; gap: 1px; overflow-wrap: anywhere; }
.sinks { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 16px; align-items: start; }
.sink { margin: 0; }
.sink .note { margin: 8px 0; font-size: 14px; }
.sink > .row { margin-top: 14px; }
.sink .ticks { margin: 8px 0 14px; }
.sink .error-text { margin: 10px 0 0; }

.timeline { list-style: none; margin: 0; padding: 0; }
.timeline > li { display: grid; grid-template-columns: 26px minmax(0, 1fr); gap: 12px; padding-bottom: 16px; position: relative; }
.timeline > li::before { content: ""; position: absolute; left: 12.5px; top: 26px; bottom: 0; width: 1px; background: var(--line); }
.timeline > li:last-child { padding-bottom: 0; }
.timeline > li:last-child::before { display: none; }
.mark { display: grid; place-items: center; width: 26px; height: 26px; border-radius: 50%; background: var(--plain-bg); color: var(--plain); font-size: 14px; }
.timeline > .good > .mark { background: var(--good-bg); color: var(--good); }
.timeline > .bad > .mark { background: var(--bad-bg); color: var(--bad); }
.timeline > .warn > .mark { background: var(--warn-bg); color: var(--warn); }
.timeline p { margin: 0; overflow-wrap: anywhere; }
.entry-title { padding-top: 2px; }
.entry-title .soft { font-size: 13px; white-space: nowrap; }
.entry-line { color: var(--soft); font-size: 13.5px; white-space: pre-wrap; }
.timeline p > a { font-size: 13.5px; }
.routing { list-style: none; margin: 6px 0; padding: 8px 12px; background: var(--sunk); border-radius: 8px; font-size: 13.5px; display: grid; gap: 4px; }
.routing li { display: flex; gap: 8px; overflow-wrap: anywhere; }
.routing .icon { margin-top: 4px; }
.routing .good .icon { color: var(--good); } .routing .plain .icon { color: var(--soft); }

.login { max-width: 400px; margin: 8vh auto 0; padding: 28px; }
.login form { display: grid; gap: 10px; margin: 18px 0 16px; position: relative; }
.login .button { justify-content: center; margin-top: 4px; }
.login .error-text { margin: 0; }
.welcome h1 { margin-bottom: 8px; }
.welcome h2 { margin: 26px 0 6px; }
.welcome details { margin: 14px 0; }
.copy-row { display: flex; gap: 8px; align-items: flex-start; margin-bottom: 10px; }
.copy-row pre { flex: 1; min-width: 0; }

@media (max-width: 900px) {
  .columns { grid-template: "first" "side" "rest" / minmax(0, 1fr); }
}
@media (max-width: 720px) {
  .wide { padding: 0 14px; }
  main.wide { padding-top: 20px; }
  .top > div { padding-top: 6px; padding-bottom: 6px; }
  .top nav { order: 3; flex-basis: 100%; margin: 0 -8px; }
  .top nav a { padding: 6px 7px; font-size: 14px; }
  .dot { margin-left: 4px; }
  .top .inline { margin-left: auto; }
  .card { padding: 15px; border-radius: 10px; }
  h1 { font-size: 21px; }
  .sinks { grid-template-columns: minmax(0, 1fr); }
  .gallery { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .list, .list tbody { display: block; }
  .list thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .list tr { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 6px 10px; padding: 13px 15px; border-bottom: 1px solid var(--line); align-items: center; }
  .list tbody tr:last-child { border-bottom: 0; }
  .list td { padding: 0; border: 0; min-width: 0; width: auto; text-align: left; max-width: none; }
  .list tbody tr:hover td { background: none; }
  .list .a-status { grid-area: 1 / 1; }
  .list .a-time { grid-area: 1 / 2; color: var(--soft); text-align: right; }
  .list .a-title { grid-column: 1 / -1; grid-row: 2; }
  .list .a-told { grid-area: 3 / 1; }
  .list .a-type { grid-area: 3 / 1; color: var(--soft); }
  .list .a-took { grid-area: 3 / 2; color: var(--soft); text-align: right; }
  .runs .a-type { display: none; }
  .search-row .button { padding: 6px 12px; }
  .axis span:nth-child(even) { display: none; }
  .unrecognized .a-time { grid-area: 1 / 1 / 2 / 3; text-align: left; }
  .list .a-act { grid-column: 1 / -1; grid-row: 4; }
  .list .a-act:empty { display: none; }
  .facts { grid-template-columns: minmax(80px, 34%) minmax(0, 1fr); gap: 6px 12px; }
  .copy-row { flex-wrap: wrap; }
  .copy-row pre { flex-basis: 100%; }
}
@media (prefers-reduced-motion: reduce) {
  .fresh td { animation: none; box-shadow: inset 3px 0 var(--good); }
}
@media (prefers-reduced-motion: no-preference) {
  .button, .chip, .top nav a { transition: background-color .12s, border-color .12s; }
}
`;
