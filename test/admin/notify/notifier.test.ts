/** Telling people: a real receiver checks the signature as Standard Webhooks says, a real mail server takes the mail; the source is the history. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../../src/admin/context.ts';
import { startNotifier } from '../../../src/admin/notify/notifier.ts';
import type { Notifier, NotifierDeps } from '../../../src/admin/notify/notifier.ts';
import { NotificationTarget } from '../../../src/admin/notify/records.ts';
import { requestApproval } from '../../../src/approvals/machine.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { until } from '../../support/upstreams/open.ts';
import { startPlane } from '../plane.ts';
import type { Plane } from '../plane.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const LOOPBACK = ['127.0.0.0/8'];

interface Hook {
  readonly url: string;
  readonly got: Array<{ readonly id: string; readonly body: JsonObject }>;
  readonly state: { status: number; tries: number; refuses: { readonly text: string; readonly status: number } | null };
  close(): Promise<void>;
}

/** Takes what a webhook says only with a signature that is right. */
async function startHook(): Promise<Hook> {
  const got: Hook['got'] = [];
  const state: Hook['state'] = { status: 204, tries: 0, refuses: null };
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    request.on('end', () => {
      state.tries++;
      if (state.refuses && text.includes(state.refuses.text))
        return void response.writeHead(state.refuses.status).end();
      if (state.status >= 300) return void response.writeHead(state.status).end();
      try {
        const body = new Webhook(SECRET).verify(text, request.headers as Record<string, string>) as JsonObject;
        got.push({ id: String(request.headers['webhook-id']), body });
        response.writeHead(state.status).end();
      } catch {
        response.writeHead(401).end();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    got,
    state,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const eventually = (holds: () => boolean): Promise<void> => until('it has come to that', holds);
const begun = (target: string): Promise<void> =>
  eventually(() => ctx.follower.records.get('notify_cursor', ctx.org, target) !== undefined);

let plane: Plane;
let ctx: AdminContext;
let hook: Hook;
const running: Notifier[] = [];
const warnings: object[] = [];
beforeEach(async () => {
  warnings.length = 0;
  hook = await startHook();
  plane = await startPlane({ wrap: (plain) => (ctx = plain) });
});
afterEach(async () => {
  for (const one of running.splice(0)) await one.close();
  await plane.close();
  await hook.close();
});

function start(more: Partial<NotifierDeps> = {}): Notifier {
  const notifier = startNotifier({
    org: ctx.org,
    clock: ctx.clock,
    state: ctx.state,
    follower: ctx.follower,
    snapshot: ctx.snapshot,
    resolveSecret: ({ secret }) => Promise.resolve(secret === 'env:HOOK' ? SECRET : 'whsec_short'),
    smtp: null,
    publicUrl: 'https://admin.example',
    log: { warn: (fields) => void warnings.push(fields), error: (fields) => void warnings.push(fields) },
    ...more,
  });
  running.push(notifier);
  return notifier;
}

async function commit(kind: string, id: string, body: object | null): Promise<void> {
  const { revision } = await ctx.state.commit({
    actor: 'test',
    reason: 'because\r\nBcc: everybody@example.com',
    writes: [{ kind, org: ctx.org, id, body: body as JsonObject | null }],
  });
  await ctx.follower.advanceTo(revision);
}
const webhook = (more: object = {}): object =>
  NotificationTarget.parse({
    title: 'on call',
    state: 'active',
    channel: { kind: 'webhook', url: hook.url, secret: { secret: 'env:HOOK' }, allowedNetworks: LOOPBACK },
    ...more,
  });
const held = (state: string = 'pending'): object => ({
  ...requestApproval(
    {
      org: 'default',
      person: 'dana',
      agent: 'agent-1',
      server: 'files',
      tool: 'delete\u202efile',
      definition: `sha256:${'0'.repeat(64)}`,
      arguments: { path: 'PRIVATE' },
      terms: {},
    },
    ctx.clock.now(),
    900_000,
  ),
  state,
});

describe('a webhook', () => {
  test('AP-04: is signed, says what waits and where, and carries no argument', async () => {
    await commit('notification_target', 'oncall', webhook());
    start();
    await begun('oncall');
    await commit('approval', 'apr_1', held());
    await eventually(() => hook.got.length === 1);
    const [told] = hook.got;
    expect(told?.body).toMatchObject({
      type: 'approval.waiting',
      data: { approval: 'apr_1', server: 'files', requester: 'dana', url: 'https://admin.example/approvals/apr_1' },
    });
    expect(JSON.stringify(told)).not.toContain('PRIVATE');
    expect(JSON.stringify(told)).not.toContain('\u202e');
  });

  test('what it cannot take now comes later, once, in order, under the same ids', async () => {
    await commit('notification_target', 'oncall', webhook());
    start();
    await begun('oncall');
    hook.state.status = 503;
    await commit('approval', 'apr_1', held());
    await commit('approval', 'apr_1', held('denied'));
    await eventually(() => hook.state.tries >= 2);
    expect(hook.got).toEqual([]);
    hook.state.status = 200;
    await eventually(() => hook.got.length === 2);
    expect(hook.got.map(({ body }) => body['type'])).toEqual(['approval.waiting', 'approval.decided']);
    expect(new Set(hook.got.map(({ id }) => id)).size).toBe(2);
    expect(warnings).toMatchObject([{ target: 'oncall', code: 'status_503' }]);
  });

  test('a restart goes on where it was: what came meanwhile is told, what was told is not', async () => {
    await commit('notification_target', 'oncall', webhook());
    const first = start();
    await begun('oncall');
    await first.close();
    await commit('lock', 'lock_1', {
      subject: { kind: 'server', value: 'files' },
      reason: 'x',
      by: 'ada',
      until: null,
    });
    start();
    await eventually(() => hook.got.length === 1);
    expect(hook.got[0]?.body).toMatchObject({
      type: 'lock.added',
      data: { kind: 'server', value: 'files', by: 'ada' },
    });
  });

  test('only the wanted types are told, and a disabled target nothing', async () => {
    await commit('notification_target', 'locks', webhook({ types: ['lock.added'] }));
    await commit('notification_target', 'off', webhook({ state: 'disabled' }));
    const notifier = start();
    await begun('locks');
    await commit('approval', 'apr_1', held());
    await commit('lock', 'lock_1', { subject: { kind: 'user', value: 'dana' }, reason: 'x', by: 'ada', until: null });
    await eventually(() => hook.got.length === 1);
    expect(hook.got[0]?.body['type']).toBe('lock.added');
    expect([...notifier.status().keys()]).toEqual(['locks']);
  });

  test.each([400, 413, 415, 422])(
    'a notice whose body the receiver refuses (%d) holds up no later one',
    async (status) => {
      await commit('notification_target', 'oncall', webhook());
      start();
      await begun('oncall');
      hook.state.refuses = { text: 'delete', status };
      await commit('approval', 'apr_1', held());
      await commit('lock', 'lock_1', { subject: { kind: 'user', value: 'dana' }, reason: 'x', by: 'ada', until: null });
      await eventually(() => hook.got.length === 1);
      expect(hook.got[0]?.body['type']).toBe('lock.added');
      expect(warnings).toMatchObject([{ code: `status_${status}`, type: 'approval.waiting' }]);
    },
  );

  test('a notice that is never taken holds the others up for a day, and no longer', async () => {
    let passed = 0;
    const clock = { ...ctx.clock, now: () => ctx.clock.now() + passed };
    await commit('notification_target', 'oncall', webhook());
    start({ clock });
    await begun('oncall');
    hook.state.refuses = { text: 'delete', status: 403 };
    await commit('approval', 'apr_1', held());
    await eventually(() => hook.state.tries >= 2);
    passed = 24 * 3_600_000;
    await eventually(() => warnings.some((one) => 'notice' in one));
    expect(warnings.at(-1)).toMatchObject({ code: 'too_old', type: 'approval.waiting' });
    passed = 0;
    await commit('lock', 'lock_1', { subject: { kind: 'user', value: 'dana' }, reason: 'x', by: 'ada', until: null });
    await eventually(() => hook.got.length === 1);
    expect(hook.got[0]?.body['type']).toBe('lock.added');
  });

  test('a receiver that is gone (410) is not asked again for the same notice', async () => {
    await commit('notification_target', 'oncall', webhook());
    start();
    await begun('oncall');
    hook.state.status = 410;
    await commit('approval', 'apr_1', held());
    await eventually(() => warnings.length === 1);
    expect([hook.state.tries, warnings]).toMatchObject([1, [{ code: 'gone', type: 'approval.waiting' }]]);
  });

  test.each([
    ['a secret that is no webhook secret', { secret: { secret: 'env:SHORT' } }, 'webhook_secret'],
    ['an address outside of the networks it may resolve to', { allowedNetworks: ['10.0.0.0/8'] }, 'dial_address'],
  ])('%s: nothing is sent, and the status says why', async (_title, change, code) => {
    const { channel } = webhook() as { channel: object };
    await commit('notification_target', 'oncall', webhook({ channel: { ...channel, ...change } }));
    const notifier = start();
    await begun('oncall');
    await commit('approval', 'apr_1', held());
    await eventually(() => (notifier.status().get('oncall')?.problem ?? null) !== null);
    expect(notifier.status().get('oncall')?.problem).toBe(code);
    expect(hook.state.tries).toBe(0);
  });
});

describe('e-mail', () => {
  interface Mail {
    readonly to: readonly string[];
    readonly text: string;
  }
  async function startMail(refuse: string | null = null) {
    const mails: Mail[] = [];
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS', 'AUTH'],
      onRcptTo: ({ address }, _session, done) =>
        done(address === refuse ? Object.assign(new Error('no such mailbox'), { responseCode: 550 }) : null),
      onData(stream, session, done) {
        let text = '';
        stream.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
        stream.on('end', () => {
          mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), text });
          done();
        });
      },
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.server.address() as AddressInfo;
    return {
      mails,
      settings: { host: '127.0.0.1', port, tls: false, unsafePlain: true, from: 'Remit <remit@corp.example>' },
      close: () => new Promise<void>((resolve) => server.close(() => resolve())),
    };
  }

  test('reaches whom it is about, each alone, with no line of theirs in a header', async () => {
    const mail = await startMail();
    try {
      await commit('notification_target', 'mail', {
        title: 'm',
        state: 'active',
        channel: { kind: 'email', to: 'concerned' },
      });
      start({ smtp: mail.settings });
      await begun('mail');
      const petra = ctx.follower.records.get('person', ctx.org, 'petra')!;
      await commit('person', 'petra', { ...petra.body, email: 'petra@corp.example' });
      await commit('approval', 'apr_1', held());
      await eventually(() => mail.mails.length === 1);
      expect(mail.mails[0]?.to).toEqual(['petra@corp.example']);
      const [head = '', body = ''] = mail.mails[0]!.text.split('\r\n\r\n', 2);
      expect(head).toContain('Subject: [Remit] A call waits for your decision');
      expect(head).toMatch(/Message-ID: <ntc_\d+_0@corp\.example>/);
      expect(head).not.toContain('petra@');
      expect(mail.mails[0]!.text).toContain('https://admin.example/approvals/apr_1');
      expect(body).not.toContain('PRIVATE');
    } finally {
      for (const one of running.splice(0)) await one.close();
      await mail.close();
    }
  });

  test('a reason with a line break in it stays one line of the text', async () => {
    const mail = await startMail();
    try {
      await commit('notification_target', 'mail', {
        title: 'm',
        state: 'active',
        channel: { kind: 'email', to: ['ops@corp.example'] },
      });
      start({ smtp: mail.settings });
      await begun('mail');
      const reason = 'x\r\nBcc: evil@example.com\r\n\r\nhello';
      await commit('lock', 'lock_1', { subject: { kind: 'user', value: 'dana' }, reason, by: 'ada', until: null });
      await eventually(() => mail.mails.length === 1);
      expect(mail.mails[0]?.to).toEqual(['ops@corp.example']);
      expect(mail.mails[0]!.text).not.toMatch(/^Bcc:/m);
    } finally {
      for (const one of running.splice(0)) await one.close();
      await mail.close();
    }
  });

  test('an address that does not exist does not hold up the next notice', async () => {
    const mail = await startMail('gone@corp.example');
    try {
      await commit('notification_target', 'mail', {
        title: 'm',
        state: 'active',
        channel: { kind: 'email', to: ['gone@corp.example'] },
      });
      const notifier = start({ smtp: mail.settings });
      await begun('mail');
      await commit('approval', 'apr_1', held());
      await commit('approval', 'apr_2', held());
      await eventually(() => notifier.status().get('mail')?.refused === 2);
      expect(warnings).toMatchObject([{ code: 'smtp_550' }, { code: 'smtp_550' }]);
    } finally {
      for (const one of running.splice(0)) await one.close();
      await mail.close();
    }
  });

  test('without a mail server in the configuration nothing is lost, and the status says so', async () => {
    await commit('notification_target', 'mail', {
      title: 'm',
      state: 'active',
      channel: { kind: 'email', to: 'concerned' },
    });
    const notifier = start();
    await begun('mail');
    await commit('approval', 'apr_1', held());
    await eventually(() => notifier.status().get('mail')?.problem === 'smtp_not_configured');
    expect(notifier.status().get('mail')?.waitingSince).not.toBeNull();
  });
});

describe('targets over the API', () => {
  const ABSENT = { 'if-none-match': '*' };
  test.each<[string, object, string]>([
    ['plain http to the public internet', { url: 'http://hooks.example/x', allowedNetworks: [] }, 'target.channel.url'],
    ['a password in the address', { url: 'https://u:p@hooks.example/x' }, 'target.channel.url'],
    ['a network that is none', { allowedNetworks: ['everything'] }, 'target.channel.allowedNetworks.0'],
    ['a literal secret', { secret: { secret: SECRET } }, 'target.channel.secret.secret'],
  ])('refuses %s', async (_title, change, field) => {
    const { channel, ...target } = webhook() as { channel: object };
    const reply = await plane.as(
      'ada',
      'PUT',
      '/notification-targets/oncall',
      { reason: 'x', target: { ...target, channel: { ...channel, ...change } } },
      ABSENT,
    );
    expect(reply.status).toBe(422);
    expect(reply.text).toContain(field);
    expect(reply.text).not.toContain(SECRET);
  });

  test('are put, read and removed by administrators', async () => {
    const put = await plane.as(
      'ada',
      'PUT',
      '/notification-targets/oncall',
      { reason: 'x', target: webhook() },
      ABSENT,
    );
    expect(put.status, put.text).toBe(201);
    const read = await plane.as('omar', 'GET', '/notification-targets/oncall');
    expect(read.body).toMatchObject({ title: 'on call', delivery: null });
    expect(
      (await plane.as('omar', 'PUT', '/notification-targets/x', { reason: 'x', target: webhook() }, ABSENT)).status,
    ).toBe(403);
    expect((await plane.as('ada', 'DELETE', '/notification-targets/oncall', { reason: 'x' })).status).toBe(200);
    expect((await plane.as('ada', 'GET', '/notification-targets')).body['targets']).toEqual([]);
  });
});
