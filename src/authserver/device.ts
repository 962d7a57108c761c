/**
 * Signing in a device without a browser (RFC 8628): the pages where a person types its code, and limits on trying codes,
 * asking for codes and polling. The enemy sends somebody a code of their own and asks them to type it in: the pages say
 * so, show who asks, and never fill in a code and go on by themselves.
 */
import type { IncomingMessage } from 'node:http';
import { LRUCache } from 'lru-cache';
import type { Client, Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';
import { sha256Hex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { FLOW_COOKIES } from './cookies.ts';
import { windowCounter } from './counters.ts';
import { markup, shortText } from '../lib/html.ts';
import type { Markup } from '../lib/html.ts';
import { page, pageHeaders } from './pages.ts';

type Middleware = Parameters<Provider['use']>[0];
type DeviceFeature = NonNullable<NonNullable<Configuration['features']>['deviceFlow']>;

export const DEVICE_PATH = '/device';
export const DEVICE_AUTHORIZATION_PATH = '/device_authorization';

export interface DeviceFlow {
  readonly feature: DeviceFeature;
  readonly middleware: Middleware;
}

const RESUME_COOKIE = `${FLOW_COOKIES.resume}=`;

/** Eight letters of twenty are 34 bits: five hundred tries in a quarter of an hour find none of a thousand codes. */
const WINDOW_MS = 15 * 60_000;
const MAX_WRONG = { address: 50, all: 500 };
const MAX_REQUESTS_PER_MINUTE = 300;
/** RFC 8628 section 3.5: what a client waits between polls when it is told nothing; a second of grace. */
const POLL_EVERY_MS = 4_000;

/** Lives as long as the process: counters survive a rotation of keys. */
export function deviceFlow(clock: Clock, note: (event: string, facts: Record<string, unknown>) => void): DeviceFlow {
  const wrong = windowCounter({ windowMs: WINDOW_MS, maxKeys: 10_000, clock });
  const requests = windowCounter({ windowMs: 60_000, maxKeys: 1, clock });
  const polls = new LRUCache<string, number>({ max: 10_000 });

  const addressOf = (ctx: { readonly req: IncomingMessage }): string => ctx.req.socket.remoteAddress ?? '';

  const feature: DeviceFeature = {
    enabled: true,
    charset: 'base-20',
    mask: '****-****',
    // Whatever could be shown of the device, the device says: an enemy would say what helps.
    deviceInfo: () => ({}),
    userCodeInputSource: async (ctx, _form, _out, error) => {
      const problem = error === undefined ? null : problemOf(error);
      if (error?.name === 'NotFoundError') {
        wrong.add(addressOf(ctx));
        wrong.add('all');
        note('device code refused', {});
      }
      show(ctx, inputPage(secretOf(ctx), textOf(ctx.state['userCode']), problem));
    },
    userCodeConfirmSource: async (ctx, _form, client, _info, userCode) => {
      show(ctx, confirmPage(secretOf(ctx), client, userCode));
    },
    successSource: async (ctx) => show(ctx, donePage(ctx.oidc.client)),
  };

  const middleware: Middleware = async (ctx, next) => {
    if (ctx.path === DEVICE_AUTHORIZATION_PATH && ctx.method === 'POST') {
      if (requests.add('all') > MAX_REQUESTS_PER_MINUTE) {
        ctx.status = 429;
        ctx.set('retry-after', '60');
        ctx.body = {
          error: 'temporarily_unavailable',
          error_description: 'too many devices ask for a code; try again in a minute',
        };
        return;
      }
      return next();
    }
    if (ctx.path === DEVICE_PATH && ctx.method === 'GET') {
      // The engine would send a form off by script; a person reads and presses a button instead.
      const { user_code: userCode, ...rest } = ctx.query;
      ctx.state['userCode'] = userCode;
      ctx.query = rest;
      return next();
    }
    const needed =
      ctx.path === DEVICE_PATH ? 'remit_session=' : ctx.path.startsWith(`${DEVICE_PATH}/`) ? RESUME_COOKIE : '';
    if (!ctx.get('cookie').includes(needed)) {
      // Nothing is under way in this browser: back to the start. (The engine fails over a session that is not there.)
      ctx.status = 303;
      ctx.redirect(DEVICE_PATH);
      ctx.body = '';
      return;
    }
    if (ctx.path === DEVICE_PATH && ctx.method === 'POST') {
      if (wrong.count(addressOf(ctx)) >= MAX_WRONG.address || wrong.count('all') >= MAX_WRONG.all) {
        ctx.status = 429;
        ctx.set('retry-after', String(WINDOW_MS / 1_000));
        ctx.set(pageHeaders([]));
        ctx.body = page(
          'Too many codes',
          markup`<h1>Too many wrong codes</h1>
<p>Wait a quarter of an hour, then ask the device for a new code.</p>`,
        );
        return;
      }
      return next();
    }
    await next();
    slowDown(ctx as unknown as KoaContextWithOIDC);
  };

  /** A client that polls faster than it was told is told to wait longer, and learns nothing earlier than others. */
  function slowDown(ctx: KoaContextWithOIDC): void {
    const oidc = (ctx as Partial<KoaContextWithOIDC>).oidc;
    if (oidc?.route !== 'token' || typeof oidc.params?.['device_code'] !== 'string') return;
    const answer = ctx.body as { error?: unknown } | undefined;
    if (answer?.error !== 'authorization_pending') return;
    const key = sha256Hex(oidc.params['device_code']);
    const before = polls.get(key);
    polls.set(key, clock.now());
    if (before === undefined || clock.now() - before >= POLL_EVERY_MS) return;
    ctx.body = { error: 'slow_down', error_description: 'wait five seconds more between two tries' };
  }

  return { feature, middleware };
}

const PROBLEMS: Record<string, string> = {
  NotFoundError: 'There is no such code. Check the letters on the device.',
  NoCodeError: 'Type the code that the device shows.',
  ExpiredError: 'This code has expired. Ask the device for a new one.',
  AlreadyUsedError: 'This code was used before. Ask the device for a new one.',
  AbortedError: 'Nothing was allowed. You can close this page.',
};

const problemOf = (error: { readonly name?: string }): string =>
  PROBLEMS[error.name ?? ''] ?? 'That did not work. Load the page again and type the code that the device shows.';

const textOf = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 20) : '');

const secretOf = (ctx: KoaContextWithOIDC): string =>
  (ctx.oidc.session?.['state'] as { secret?: string } | undefined)?.secret ?? '';

function show(ctx: KoaContextWithOIDC, html: string): void {
  ctx.set(pageHeaders([]));
  ctx.body = html;
}

const WARNING = markup`<p class="warn" role="note"><strong>Go on only if you started this yourself, just now, on a device in front of you.</strong> Nobody who helps you will ever send you a code: whoever asks you to type one in wants to work under your name.</p>`;

function inputPage(secret: string, userCode: string, problem: string | null): string {
  const failed = problem === null ? null : markup`<p class="bad" role="alert" id="failed">${problem}</p>`;
  return page(
    'Connect a device',
    markup`<h1>Connect a device</h1>
${failed}
${WARNING}
<form method="post" action="${DEVICE_PATH}">
<input type="hidden" name="xsrf" value="${secret}">
<label for="user_code">Code on the device</label>
<input id="user_code" name="user_code" type="text" value="${shortText(userCode, 20)}" autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="20" required>
<div class="row">
<button type="submit">Continue</button>
</div>
</form>`,
  );
}

function confirmPage(secret: string, client: Client, userCode: string): string {
  const hidden: Markup = markup`<input type="hidden" name="xsrf" value="${secret}">
<input type="hidden" name="user_code" value="${userCode}">`;
  return page(
    'Check the code',
    markup`<h1>Does your device show this code?</h1>
<dl>
<dt>Code</dt><dd><code>${shortText(userCode, 20)}</code></dd>
<dt>Application</dt><dd>${shortText(client.clientName ?? client.clientId, 60)}<br><code>${shortText(client.clientId, 200)}</code></dd>
</dl>
${WARNING}
<div class="row">
<form method="post" action="${DEVICE_PATH}">
${hidden}
<button type="submit" name="confirm" value="yes">Yes, it is my device</button>
</form>
<form method="post" action="${DEVICE_PATH}">
${hidden}
<button type="submit" name="abort" value="yes" class="quiet">No, stop</button>
</form>
</div>`,
  );
}

function donePage(client: Client | undefined): string {
  return page(
    'Device connected',
    markup`<h1>The device is connected</h1>
<p>${shortText(client?.clientName ?? 'The application', 60)} goes on there by itself. You can close this page.</p>`,
  );
}
