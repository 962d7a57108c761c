/**
 * Security events of the authorization server (RFC 8417, 8935): what it is told ends sessions and grants here, what ends
 * here is told to the gateways. Started once; outlives rotations of keys.
 */
import { createPrivateKey } from 'node:crypto';
import { SignJWT } from 'jose';
import type { Provider } from 'oidc-provider';
import { readBearer } from '../../identity/bearer.ts';
import { MAX_EVENT_BYTES } from '../../identity/security-event.ts';
import type { EventError } from '../../identity/security-event.ts';
import { sameText } from '../../lib/bytes.ts';
import type { JsonObject } from '../../lib/json.ts';
import { guardedJson } from '../../upstream/dial.ts';
import type { DialRule } from '../../upstream/dial.ts';
import { deliverEvents } from '../../upstream/event-delivery.ts';
import type { EventDelivery } from '../../upstream/event-delivery.ts';
import { resolveSecret } from '../../upstream/secrets.ts';
import { readBody } from '../body.ts';
import { isLoopbackHost } from '../config.ts';
import type { SharedParts } from '../shared.ts';
import { disabledAccounts, organisationsHere, organisationsOfAccount } from './accounts.ts';
import { eventInbox } from './inbox.ts';
import { outbox } from './outbox.ts';
import type { GatewayEvents } from './settings.ts';

export interface RunningEvents {
  /** Stands before the engine's routes. */
  readonly middleware: Parameters<Provider['use']>[0];
  /** Before the database closes. */
  close(): Promise<void>;
}

const PATH = '/events';
const LOOPBACK = ['127.0.0.0/8', '::1/128'];
const SWEEP_EVERY_MS = 60_000;

export function startEvents(shared: SharedParts): RunningEvents {
  const { issuer, settings, db, clock, keys, endings, note } = shared;
  const { gateways } = settings.events;
  if (gateways.length === 0) return { middleware: (_ctx, next) => next(), close: async () => undefined };

  const box = outbox(db, clock, issuer, settings.lifetimes.accessSeconds);
  /** With the key of the moment: a rotation is no trouble for what waits. */
  const sign = (claims: JsonObject): Promise<string> => {
    const jwk = keys.signingKey();
    return new SignJWT({ ...claims })
      .setProtectedHeader({ alg: 'ES256', typ: 'secevent+jwt', kid: jwk.kid })
      .sign(createPrivateKey({ key: { ...jwk }, format: 'jwk' }));
  };

  const deliveries = new Map<string, EventDelivery>();
  for (const { issuer: gateway, send, allowedNetworks } of gateways) {
    if (send === undefined) continue;
    const delivery = deliverEvents({
      source: box.source(gateway, gateway, sign),
      receiver: {
        url: send.url,
        rule: ruleFor(send.url, allowedNetworks),
        token: () => resolveSecret({ secret: send.token }, process.env),
      },
      clock,
      onRefused: (_event, code) => note('a gateway refused a security event', { gateway, code }),
      onLater: (code) => note('a gateway does not take security events now', { gateway, code }),
      onFault: (fault) => note('security events cannot be sent', { gateway, fault: String(fault) }),
    });
    deliveries.set(gateway, delivery);
  }
  endings.onRevoked((revoked) => {
    // Whoever told us knows; telling back would go round in a circle.
    if (revoked.by === 'event') return;
    for (const [gateway, delivery] of deliveries) {
      box.add(gateway, revoked);
      delivery.wake();
    }
  });

  const inbox = eventInbox({
    issuer,
    db,
    clock,
    endings,
    oneOrganisation: organisationsHere(settings).size === 1,
    organisationsOf: organisationsOfAccount(db, settings, shared.directory),
    disabled: disabledAccounts(db, clock),
    fetchKeys: (url, allowedNetworks) =>
      guardedJson(url, { rule: ruleFor(url, allowedNetworks), timeoutMs: 5_000, maxBytes: 65_536 }),
    onEndedGrant: (grantId, sub) => {
      for (const [gateway, delivery] of deliveries) {
        box.add(gateway, { kind: 'grant', grantId, sub, clientId: null, by: 'event', at: clock.now() });
        delivery.wake();
      }
    },
    note,
  });
  const sweeper = setInterval(() => {
    inbox.sweep();
    box.sweep();
  }, SWEEP_EVERY_MS);
  sweeper.unref();

  return {
    middleware: async (ctx, next) => {
      if (ctx.path !== PATH) return next();
      const refuse = (err: EventError, description: string): void => {
        ctx.status = 400;
        ctx.body = { err, description };
      };
      ctx.set('cache-control', 'no-store');
      if (ctx.method !== 'POST') {
        ctx.set('allow', 'POST');
        ctx.status = 405;
        ctx.body = { err: 'invalid_request', description: 'Security events are pushed with POST.' };
        return undefined;
      }
      const bearer = readBearer(ctx.req.rawHeaders, ctx.req.url ?? '');
      const gateway = bearer.ok ? await opener(gateways, bearer.value) : null;
      // Who has no token does not get to send a body.
      if (gateway === null) return refuse('authentication_failed', 'The bearer token is not one of a gateway.');
      if (ctx.is('application/secevent+jwt') === false)
        return refuse('invalid_request', 'Send one token with Content-Type: application/secevent+jwt.');
      const body = await readBody(ctx.req, MAX_EVENT_BYTES);
      if (body === null) return refuse('invalid_request', 'The token is larger than 64 KiB.');
      const taken = await inbox.take(gateway, body.trim());
      switch (taken.kind) {
        case 'accepted':
          ctx.status = 202;
          ctx.body = null;
          ctx.status = 202;
          return undefined;
        case 'refused':
          return refuse(taken.code, taken.description);
        case 'unavailable':
          ctx.status = 503;
          ctx.set('retry-after', '1');
          ctx.body = '';
          return undefined;
        default:
          return taken satisfies never;
      }
    },
    async close() {
      clearInterval(sweeper);
      await Promise.all([...deliveries.values()].map((delivery) => delivery.close()));
    },
  };
}

/** A gateway on this machine needs no entry in the networks: what is asked there comes from our own configuration. */
function ruleFor(url: string, allowedNetworks: readonly string[]): DialRule {
  const here = isLoopbackHost(new URL(url).hostname);
  return { allowedNetworks: here ? LOOPBACK : allowedNetworks, requireHttps: true };
}

/** Whose bearer token it is. All are compared, so that time tells nothing about them. */
async function opener(gateways: readonly GatewayEvents[], bearer: string): Promise<GatewayEvents | null> {
  let found: GatewayEvents | null = null;
  for (const gateway of gateways) {
    if (gateway.receive === undefined) continue;
    const token = await resolveSecret({ secret: gateway.receive.token }, process.env).catch(() => null);
    if (token !== null && sameText(token, bearer)) found = gateway;
  }
  return found;
}
