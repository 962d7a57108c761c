/**
 * Events of a gateway speak of the people of its own organisation and of nobody else's, also when no other gateway sends events, when the
 * person is inactive, and when nobody has seen them yet. The oracle is whether the person of the other organisation still signs in.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CAEP, OAUTH, RISC, push, startTransmitter } from '../admin/events/transmitter.ts';
import type { EventTransmitter } from '../admin/events/transmitter.ts';
import { oidcSettings, startFederated } from '../authserver/federation-fixture.ts';
import type { Federated } from '../authserver/federation-fixture.ts';
import { post } from '../authserver/fixture.ts';
import type { Members } from '../support/issuer.ts';

const TOKENS = {
  globex: 'token-of-the-gateway-of-globex-000000000',
  home: 'token-of-our-own-gateway-0000000000000000',
};

let dir: string;
let globex: EventTransmitter;
let home: EventTransmitter;
/** Only the gateway of globex sends events. */
let lone: Federated;
/** Both do. */
let both: Federated;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'remit-events-'));
  for (const [name, token] of Object.entries(TOKENS)) writeFileSync(join(dir, name), token, { mode: 0o600 });
  [globex, home] = await Promise.all([startTransmitter(), startTransmitter()]);
  const sender = (from: EventTransmitter, organisation: 'default' | 'globex', name: keyof typeof TOKENS) => ({
    issuer: from.issuer.issuer,
    organisation,
    jwksUri: from.issuer.jwksUri,
    receive: { token: `file:${join(dir, name)}` },
  });
  const started = (gateways: ReturnType<typeof sender>[]): Promise<Federated> =>
    startFederated(
      (issuer) => [
        oidcSettings(issuer),
        oidcSettings(issuer, { id: 'globex', title: 'Globex', organisation: 'globex' }),
      ],
      (origin) => ({
        trustedGateways: [{ origin }, { origin: 'https://mcp.globex.example', organisation: 'globex' }],
        events: { gateways },
      }),
    );
  lone = await started([sender(globex, 'globex', 'globex')]);
  both = await started([sender(globex, 'globex', 'globex'), sender(home, 'default', 'home')]);
});
afterAll(async () => {
  await Promise.all([lone?.stop(), both?.stop(), globex?.close(), home?.close()]);
  rmSync(dir, { recursive: true, force: true });
});

async function tell(at: Federated, from: EventTransmitter, type: string, more: Members): Promise<void> {
  const token = from.event(type, {}, { aud: at.server.issuer, ...more });
  const bearer = from === globex ? TOKENS.globex : TOKENS.home;
  const { status } = await push(`${at.server.issuer}/events`, token, { authorization: `Bearer ${bearer}` });
  expect(status).toBe(202);
}
const about = (at: Federated, sub: string): Members => ({
  sub_id: { format: 'iss_sub', iss: at.server.issuer, sub },
});
const refresh = async (at: Federated, token: unknown): Promise<number> => {
  const fields = { grant_type: 'refresh_token', client_id: 'mcp-client', refresh_token: String(token) };
  return (await post(`${at.server.issuer}/token`, fields)).status;
};
const signsIn = async (at: Federated, sub: string): Promise<boolean> => {
  await at.idp.visitor({ sub, claims: { name: `Person ${sub}` } });
  return (await at.visit()).page?.text.includes(`Person ${sub}`) === true;
};

test('ID-04: the only gateway that sends events ends nobody of another organisation', async () => {
  await lone.idp.visitor({ sub: 'ada', claims: { name: 'Ada' } });
  const { refresh_token: token } = await lone.signIn();
  await tell(lone, globex, `${RISC}account-disabled`, about(lone, 'corp|ada'));
  await tell(lone, globex, `${CAEP}session-revoked`, about(lone, 'corp|ada'));
  await tell(lone, globex, `${OAUTH}tokens-revoked`, { sub_id: { format: 'opaque', id: 'mcp-client' } });
  expect(await refresh(lone, token)).toBe(200);
  expect(await signsIn(lone, 'ada')).toBe(true);
});

test('ID-04: a gateway cannot disable somebody of another organisation before they first sign in', async () => {
  await tell(both, globex, `${RISC}account-disabled`, about(both, 'corp|grace'));
  expect(await signsIn(both, 'grace')).toBe(true);
  // Its own people it can.
  await tell(both, home, `${RISC}account-disabled`, about(both, 'corp|hedy'));
  expect(await signsIn(both, 'hedy')).toBe(false);
});

test('ID-04: nor add its word while their own gateway has them disabled', async () => {
  expect(await signsIn(both, 'joan')).toBe(true);
  await tell(both, home, `${RISC}account-disabled`, about(both, 'corp|joan'));
  await tell(both, globex, `${RISC}account-disabled`, about(both, 'corp|joan'));
  expect(await signsIn(both, 'joan')).toBe(false);
  await tell(both, home, `${RISC}account-enabled`, about(both, 'corp|joan'));
  expect(await signsIn(both, 'joan')).toBe(true);
});
