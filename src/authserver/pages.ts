/**
 * The pages a person sees: sign-in, consent, error. Server-rendered, no script, no image, one inline style sheet named by
 * its hash in the policy. Everything from outside is escaped and cut. Does not decide anything. One table of pages.
 */
import { createHash } from 'node:crypto';
import type { FailedSignIn } from './federation/federation.ts';
import { markup, shortText, trustedMarkup } from '../lib/html.ts';
import type { Markup } from '../lib/html.ts';
import type { OfferedScope, Risk } from './resources.ts';

const STYLE = `
:root{color-scheme:light dark;--ink:#16202c;--soft:#4a5766;--line:#d3dae2;--paper:#fff;--ground:#eef1f5;--act:#0b57a4;--actink:#fff;--warn:#7a4300;--warnbg:#fff3dc;--bad:#9b1c1c;--badbg:#fde8e8}
@media (prefers-color-scheme:dark){:root{--ink:#e8edf3;--soft:#a9b6c4;--line:#3a4653;--paper:#1a222c;--ground:#10161d;--act:#8fc2ff;--actink:#0c1a2b;--warn:#ffd28a;--warnbg:#3a2b10;--bad:#ffb4b4;--badbg:#431a1a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:30rem;margin:0 auto;padding:1.5rem 1rem 3rem}
.card{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:1.5rem}
.brand{font-weight:700;letter-spacing:.02em;margin:0 0 1rem;color:var(--soft)}
h1{font-size:1.35rem;line-height:1.3;margin:0 0 .75rem;overflow-wrap:anywhere}
h2{font-size:1rem;margin:1.25rem 0 .5rem}
p{margin:.5rem 0}
dl{margin:1rem 0;display:grid;grid-template-columns:auto 1fr;gap:.35rem 1rem}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
code{font:.9em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
label{display:block;font-weight:600;margin:1rem 0 .25rem}
input[type=text],input[type=password]{width:100%;padding:.65rem .75rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--soft);border-radius:8px}
button{font:inherit;font-weight:600;padding:.7rem 1.2rem;border-radius:8px;border:1px solid var(--act);background:var(--act);color:var(--actink);cursor:pointer;min-height:44px}
a.button{display:inline-flex;align-items:center;justify-content:center;font-weight:600;padding:.7rem 1.2rem;border-radius:8px;border:1px solid var(--act);background:var(--act);color:var(--actink);text-decoration:none;min-height:44px;overflow-wrap:anywhere}
ul.choices{padding:0;margin:1rem 0}
ul.choices li{border:0;padding:.3rem 0}
ul.choices a{width:100%}
button.quiet{background:transparent;color:var(--ink);border-color:var(--soft)}
:focus-visible{outline:3px solid var(--act);outline-offset:2px}
.row{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1.5rem}
.row form{margin:0}
.note,.warn,.bad{border-radius:8px;padding:.6rem .8rem;margin:.75rem 0}
.note{border:1px solid var(--line);color:var(--soft)}
.warn{background:var(--warnbg);color:var(--warn)}
.bad{background:var(--badbg);color:var(--bad)}
ul{list-style:none;margin:.5rem 0;padding:0}
li{border-top:1px solid var(--line);padding:.6rem 0;overflow-wrap:anywhere}
.mark{display:inline-block;font-size:.8rem;font-weight:700;border:1px solid currentColor;border-radius:99px;padding:0 .6rem;margin-left:.4rem}
.mark.high{color:var(--bad)}.mark.mid{color:var(--warn)}.mark.low{color:var(--soft)}
small{color:var(--soft)}
`;

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/** `formTargets`: where a form may lead, redirects included (browsers check those too): our own origin and the client's. */
export function pageHeaders(formTargets: readonly string[]): Record<string, string> {
  return {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'content-security-policy': [
      `default-src 'none'`,
      `style-src 'sha256-${STYLE_HASH}'`,
      `form-action ${["'self'", ...formTargets].join(' ')}`,
      `frame-ancestors 'none'`,
      `base-uri 'none'`,
    ].join('; '),
  };
}

/** The CSP source for a registered redirect address; null when it cannot be written as one. */
export function formTarget(redirectUri: string): string | null {
  const url = URL.parse(redirectUri);
  if (url === null) return null;
  // CSP has no way to write an IPv6 address or a private-use origin: there the scheme must do.
  const source = /^https?:$/.test(url.protocol) && !url.hostname.startsWith('[') ? url.origin : url.protocol;
  return /^[a-z][a-z0-9+.-]*:(\/\/[a-z0-9.-]+(:\d+)?)?$/.test(source) ? source : null;
}

/** INVARIANT: nothing but STYLE stands inside the style element, else its hash in the policy does not match. */
export function page(title: string, body: Markup): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title} · Remit</title>
<style>${trustedMarkup(STYLE)}</style>
</head>
<body>
<main>
<p class="brand">Remit</p>
<div class="card">
${body}
</div>
</main>
</body>
</html>
`.text;
}

export interface SignInView {
  readonly action: string;
  readonly formToken: string;
  readonly clientName: string;
  /** The last try did not succeed; the reason is nobody's business. */
  readonly failed: boolean;
  readonly username: string;
  /** The form for local users is shown. */
  readonly passwords: boolean;
  /** Links, not forms: what a form leads to must be listed in the policy, and a provider sends people on to places of its own. */
  readonly providers: readonly { readonly title: string; readonly address: string }[];
}

export function signInPage(view: SignInView): string {
  const name = shortText(view.clientName, 60);
  return page(
    'Sign in',
    markup`<h1>Sign in to continue to ${name}</h1>
${view.providers.length === 0 ? null : providerLinks(view)}
${view.passwords ? passwordForm(view) : cancelForm(view)}`,
  );
}

function providerLinks(view: SignInView): Markup {
  const links = view.providers.map(
    ({ title, address }) => markup`<li><a class="button" href="${address}">${shortText(title, 60)}</a></li>
`,
  );
  return markup`<h2 id="with">With your organisation's account</h2>
<ul class="choices" aria-labelledby="with">
${links}
</ul>`;
}

const cancelForm = (view: SignInView): Markup => markup`<form method="post" action="${view.action}">
<input type="hidden" name="form_token" value="${view.formToken}">
<input type="hidden" name="step" value="sign-in">
<div class="row">
<button type="submit" name="decision" value="cancel" class="quiet">Cancel</button>
</div>
</form>`;

function passwordForm(view: SignInView): Markup {
  const failed = markup`<p class="bad" role="alert" id="failed">That did not work. Check the user name and password, or wait a few minutes after several attempts.</p>`;
  return markup`<p class="warn"><strong>Evaluation sign-in: local users of this installation.</strong> For production, connect your identity provider instead.</p>
${view.failed ? failed : null}
<form method="post" action="${view.action}" autocomplete="on">
<input type="hidden" name="form_token" value="${view.formToken}">
<input type="hidden" name="step" value="sign-in">
<label for="username">User name</label>
<input id="username" name="username" type="text" value="${shortText(view.username, 64)}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64" required ${trustedMarkup(view.failed ? 'aria-describedby="failed"' : 'autofocus')}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="200" required ${trustedMarkup(view.failed ? 'aria-describedby="failed" autofocus' : '')}>
<div class="row">
<button type="submit" name="decision" value="continue">Sign in</button>
<button type="submit" name="decision" value="cancel" class="quiet" formnovalidate>Cancel</button>
</div>
</form>`;
}

export interface SignInFailedView {
  readonly action: string;
  readonly formToken: string;
  readonly clientName: string;
  readonly failed: FailedSignIn;
  readonly reference: string;
}

/** One sentence for each kind of failure: what the provider said, and which check it was, stand in the log. */
const FAILED_WORDS: Readonly<Record<FailedSignIn, string>> = {
  access_denied:
    'Your organisation did not sign you in for this server, or what it answered cannot be used. If you have several accounts, try again with the other one.',
  temporarily_unavailable: 'The sign-in of your organisation cannot be reached right now. Try again in a moment.',
  unmet_authentication_requirements:
    'This application asks for a more recent or a stronger sign-in than the one you made. Try again and sign in anew.',
};

export function signInFailedPage(view: SignInFailedView): string {
  return page(
    'Sign-in did not work',
    markup`<h1>Sign-in did not work</h1>
<p class="bad" role="alert">${FAILED_WORDS[view.failed]}</p>
<dl>
<dt>Code</dt><dd><code>${view.failed}</code></dd>
<dt>Reference</dt><dd><code>${view.reference}</code></dd>
</dl>
<form method="post" action="${view.action}">
<input type="hidden" name="form_token" value="${view.formToken}">
<input type="hidden" name="step" value="sign-in">
<div class="row">
<a class="button" href="${view.action}">Try again</a>
<button type="submit" name="decision" value="${view.failed}" class="quiet">Back to ${shortText(view.clientName, 60)}</button>
</div>
</form>
<p><small>Quote the reference when you ask for help.</small></p>`,
  );
}

const RISK_WORDS: Record<Risk, readonly [level: 'low' | 'mid' | 'high', words: string]> = {
  read: ['low', 'reads'],
  write: ['mid', 'changes data'],
  destructive: ['high', 'can destroy data'],
  execute: ['high', 'runs code'],
  regulated: ['high', 'regulated data'],
};

export interface ConsentView {
  readonly action: string;
  readonly formToken: string;
  readonly client: {
    readonly id: string;
    readonly name: string;
    /** Host that vouches for the client by its metadata document; null: registered with this installation. */
    readonly vouchedBy: string | null;
    /** It came here by dynamic registration: its name is its own claim. */
    readonly registeredItself: boolean;
  };
  /** `127.0.0.1`, `claude.ai`, or the private-use scheme with its colon. */
  readonly redirectHost: string;
  readonly redirectIsLocal: boolean;
  readonly person: { readonly name: string; readonly email: string };
  readonly resource: { readonly name: string; readonly url: string };
  readonly scopes: readonly OfferedScope[];
  /** Every scope asked for was allowed to this client before. */
  readonly allowedBefore: boolean;
}

export function consentPage(view: ConsentView): string {
  const name = shortText(view.client.name, 60);
  const server = shortText(view.resource.name, 80);
  const local = markup`<p class="warn" role="note">This application runs on your own computer, and any program there can claim this name. Continue only if you have just started it yourself.</p>`;
  return page(
    'Allow access',
    markup`<h1>Allow <strong>${name}</strong> to use <strong>${server}</strong> in your name?</h1>
<dl>
<dt>Application</dt><dd>${name}<br><small>${identityOf(view)}</small><br><code>${shortText(view.client.id, 200)}</code></dd>
<dt>Server</dt><dd>${server}<br><code>${shortText(view.resource.url, 300)}</code></dd>
<dt>Sends you to</dt><dd><code>${shortText(view.redirectHost, 253)}</code></dd>
<dt>Signed in as</dt><dd>${shortText(view.person.name, 100)}<br><small>${shortText(view.person.email, 254)}</small></dd>
</dl>
${view.redirectIsLocal ? local : null}
<h2>It asks to</h2>
<ul>
${view.scopes.length === 0 ? markup`<li>know who you are, and nothing more</li>` : view.scopes.map(scopeLine)}
</ul>
${view.allowedBefore ? markup`<p class="note">You have allowed this before.</p>` : null}
<form method="post" action="${view.action}">
<input type="hidden" name="form_token" value="${view.formToken}">
<input type="hidden" name="step" value="consent">
<div class="row">
<button type="submit" name="decision" value="allow">Allow</button>
<button type="submit" name="decision" value="deny" class="quiet">Deny</button>
<button type="submit" name="decision" value="switch" class="quiet">Use another account</button>
</div>
</form>
<p><small>What it does is decided again for every call, and recorded.</small></p>`,
  );
}

function identityOf(view: ConsentView): string {
  if (view.client.registeredItself) return 'registered itself: nobody vouches for its name';
  return view.client.vouchedBy === null
    ? 'registered with this installation'
    : `vouched for by ${shortText(view.client.vouchedBy, 253)}`;
}

function scopeLine(scope: OfferedScope): Markup {
  const [level, words] = scope.risk === null ? (['mid', 'risk not stated'] as const) : RISK_WORDS[scope.risk];
  const plain = shortText(scope.description, 200) || 'The server gives no description';
  return markup`<li>${plain} <span class="mark ${level}">${words}</span><br><code>${shortText(scope.scope, 200)}</code></li>
`;
}

export interface ErrorView {
  readonly title: string;
  readonly text: string;
  /** The OAuth error code, or null. */
  readonly code: string | null;
  readonly reference: string;
}

export function errorPage(view: ErrorView): string {
  const code = markup`<dt>Code</dt><dd><code>${shortText(view.code ?? '', 60)}</code></dd>`;
  return page(
    view.title,
    markup`<h1>${view.title}</h1>
<p>${shortText(view.text, 300)}</p>
<dl>
${view.code === null ? null : code}
<dt>Reference</dt><dd><code>${view.reference}</code></dd>
</dl>
<p><small>Quote the reference when you ask for help. You can close this page and start again from your application.</small></p>`,
  );
}
