/**
 * What every page of the admin listener is made of: server-rendered, no script, no image, one inline style sheet that the policy names by
 * its hash. Works without JavaScript, on a narrow screen, in the dark, by keyboard. Decides nothing.
 */
import { createHash } from 'node:crypto';
import { markup, trustedMarkup, type Markup } from '../../lib/html.ts';
import { visibleText } from './visible.ts';

const STYLE = `
:root{color-scheme:light dark;--ink:#16202c;--soft:#4a5766;--line:#d3dae2;--paper:#fff;--ground:#eef1f5;--act:#0b57a4;--actink:#fff;--warn:#6b3a00;--warnbg:#fff3dc;--bad:#8d1616;--badbg:#fde8e8;--mark:#8d1616}
@media (prefers-color-scheme:dark){:root{--ink:#e8edf3;--soft:#a9b6c4;--line:#3a4653;--paper:#1a222c;--ground:#10161d;--act:#8fc2ff;--actink:#0c1a2b;--warn:#ffd28a;--warnbg:#3a2b10;--bad:#ffb4b4;--badbg:#431a1a;--mark:#ffb4b4}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
a{color:var(--act)}
header{background:var(--paper);border-bottom:1px solid var(--line);padding:.5rem 1rem;display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:center}
header .brand{font-weight:700;color:var(--soft);margin:0}
header nav{display:flex;gap:1rem;flex:1 1 auto}
header nav a{padding:.6rem 0}
header form{margin:0;display:flex;flex-wrap:wrap;gap:.5rem;align-items:center}
main{max-width:56rem;margin:0 auto;padding:1rem 1rem 3rem}
.card{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:1.25rem;margin:0 0 1rem}
h1{font-size:1.35rem;line-height:1.3;margin:0 0 .75rem;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:1.25rem 0 .5rem}
p{margin:.5rem 0;overflow-wrap:anywhere}
dl{margin:.75rem 0;display:grid;grid-template-columns:minmax(6rem,auto) 1fr;gap:.35rem 1rem}
dl.values{display:block}
dt{color:var(--soft)}
dl.values dt{margin-top:.75rem;color:var(--ink)}
dd{margin:0;min-width:0;overflow-wrap:anywhere}
code,.value{font:.9rem/1.5 ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
.name{font-weight:700}
.value{border:1px solid var(--line);border-radius:6px;padding:.5rem .6rem;word-break:break-word;unicode-bidi:isolate}
.mk{color:var(--mark);font-weight:700}
table{border-collapse:collapse;width:100%}
ul{margin:.5rem 0;padding:0 0 0 1.2rem}
li{overflow-wrap:anywhere;padding:.2rem 0}
ul.rows{list-style:none;padding:0}
ul.rows li{border-top:1px solid var(--line);padding:.6rem 0}
ul.rows a{font-weight:600;display:inline-block;padding:.3rem 0}
label{display:block;font-weight:600;margin:1rem 0 .25rem}
textarea{width:100%;padding:.6rem .7rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--soft);border-radius:8px}
button,a.button{display:inline-flex;align-items:center;font:inherit;font-weight:600;padding:.6rem 1.1rem;border-radius:8px;border:1px solid var(--act);background:var(--act);color:var(--actink);cursor:pointer;min-height:44px;text-decoration:none}
button.quiet{background:transparent;color:var(--ink);border-color:var(--soft)}
:focus-visible{outline:3px solid var(--act);outline-offset:2px}
.row{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1rem}
.note,.warn,.bad{border-radius:8px;padding:.5rem .8rem;margin:.75rem 0}
.note{border:1px solid var(--line);color:var(--soft)}
.warn{background:var(--warnbg);color:var(--warn)}
.warn a{color:inherit}
.bad{background:var(--badbg);color:var(--bad)}
.tag{display:inline-block;font-size:.85rem;font-weight:700;border:1px solid currentColor;border-radius:99px;padding:0 .6rem}
.tag.high{color:var(--bad)}
small{color:var(--soft)}
`;

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/** Over those of the listener. `no-referrer` would make browsers send our own forms with `Origin: null`; another origin learns nothing either way. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'content-security-policy': [
    `default-src 'none'`,
    `style-src 'sha256-${STYLE_HASH}'`,
    `form-action 'self'`,
    `frame-ancestors 'none'`,
    `base-uri 'none'`,
  ].join('; '),
};

export interface Visitor {
  readonly name: string;
  readonly person: string;
  readonly signOutToken: string;
}

/** INVARIANT: nothing but STYLE stands inside the style element, else its hash in the policy does not match. */
export function page(title: string, visitor: Visitor | null, body: Markup): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${visibleText(title)} · Remit</title>
<style>${trustedMarkup(STYLE)}</style>
</head>
<body>
<header>
<p class="brand">Remit</p>
${visitor === null ? null : navigation(visitor)}
</header>
<main>
${body}
</main>
</body>
</html>
`.text;
}

const navigation = ({ name, person, signOutToken }: Visitor): Markup => markup`<nav aria-label="Pages">
<a href="/approvals">Approvals</a>
<a href="/requests">My requests</a>
<a href="/grants">Access</a>
</nav>
<form method="post" action="/session/sign-out">
<input type="hidden" name="form_token" value="${signOutToken}">
<span>${visibleText(name)} <small>${visibleText(person)}</small></span>
<button type="submit" class="quiet">Sign out</button>
</form>`;

/** UTC, to the second. */
export const timeText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
