/**
 * Federated sign-in, put together: providers of an organisation, the way there and back, the three addresses they call.
 * Promises: an answer counts only for the sign-in that asked for it, in the browser that asked, once; the organisation
 * is the resource's; what the client asked of the sign-in is met. Nothing of a provider's own text leaves here.
 */
import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { errors } from 'oidc-provider';
import type { Provider } from 'oidc-provider';
import type { Clock } from '../../lib/clock.ts';
import { err, ok } from '../../lib/result.ts';
import type { Result } from '../../lib/result.ts';
import { readBody } from '../body.ts';
import { federatedAccounts } from './accounts.ts';
import type { FederatedAccounts } from './accounts.ts';
import { providerFetch } from './dial.ts';
import type { ProviderFetch } from './dial.ts';
import { flows as openFlows } from './flows.ts';
import { readSignIn, sayRefusal } from './mapping.ts';
import type { FederatedPerson } from './mapping.ts';
import { openIdConnect } from './oidc.ts';
import { MAX_RESPONSE_BYTES } from './saml-guard.ts';
import { saml } from './saml.ts';
import { organisationsOf } from './settings.ts';
import type { IdentityProvider } from './settings.ts';
import { acrOf, stepUpProblem } from './step-up.ts';
import type { AskedSignIn, SignInFacts } from './step-up.ts';
import { SignInFault } from './upstream.ts';
import type { Upstream } from './upstream.ts';

type Middleware = Parameters<Provider['use']>[0];
type Context = Parameters<Middleware>[0];

/** What the client is told; the page shows one sentence for each. */
export type FailedSignIn = 'access_denied' | 'temporarily_unavailable' | 'unmet_authentication_requirements';

export interface Federation {
  readonly accounts: FederatedAccounts;
  readonly configured: boolean;
  /** null: the request is for no resource (a person's own pages), so whoever any provider knows may sign in. */
  providersOf(organisation: string | null): readonly { readonly id: string; readonly title: string }[];
  /** The address to send the browser to. `interaction` is what the browser's cookie names. */
  begin(
    flow: { readonly interaction: string; readonly provider: string; readonly organisation: string | null },
    asked: AskedSignIn,
    chooseAccount: boolean,
  ): Promise<Result<string, FailedSignIn>>;
  /** The answered sign-in of this interaction, once. `receipt`: given to the browser that brought the answer. The person is saved when it is good. */
  finish(
    interaction: string,
    receipt: string,
    organisation: string | null,
  ): Promise<Result<{ readonly person: FederatedPerson; readonly facts: SignInFacts }, FailedSignIn>>;
  /** `/federation/{provider}/callback`, `/acs`, `/metadata`. */
  readonly routes: Middleware;
}

const ROUTE = /^\/federation\/([a-z0-9][a-z0-9-]{0,39})\/(callback|acs|metadata)$/;
const STATE = /^[\w-]{43}$/;
const MAX_QUERY = 8 * 1_024;
/** Base64 in a form, where `+` and `/` take three letters. */
const MAX_FORM = MAX_RESPONSE_BYTES * 2;

export function federation(parts: {
  readonly issuer: string;
  readonly providers: readonly IdentityProvider[];
  readonly db: DatabaseSync;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly note: (event: string, facts: Record<string, unknown>) => void;
  /** For recorded providers in tests. Default: the guarded dialler. */
  readonly fetch?: ProviderFetch;
}): Federation {
  const { issuer, db, clock, env, note } = parts;
  const flows = openFlows(db, clock);
  const accounts = federatedAccounts(db, parts.providers, clock);
  const providers = new Map(
    parts.providers.map((settings) => [settings.id, { settings, upstream: upstreamOf(settings) }]),
  );

  function upstreamOf(provider: IdentityProvider): Upstream {
    const base = `${issuer}/federation/${provider.id}`;
    return provider.protocol === 'oidc'
      ? openIdConnect({
          provider,
          redirectUri: `${base}/callback`,
          fetch: parts.fetch ?? providerFetch(provider.allowedNetworks),
          env,
          clock,
        })
      : saml({ provider, entityId: `${base}/metadata`, acsUrl: `${base}/acs`, env, flows, clock });
  }

  const failed = (error: unknown, provider: string): FailedSignIn => {
    if (!(error instanceof SignInFault)) throw error;
    note('federated sign-in refused', { provider, code: error.code, reason: error.message });
    return error.code === 'federation_unavailable' ? 'temporarily_unavailable' : 'access_denied';
  };

  return {
    accounts,
    configured: providers.size > 0,
    providersOf: (organisation) =>
      parts.providers
        .filter((provider) => organisation === null || organisationsOf(provider).includes(organisation))
        .map(({ id, title }) => ({ id, title })),
    begin: async ({ interaction, provider: id, organisation }, asked, chooseAccount) => {
      const provider = providers.get(id);
      const fits =
        provider !== undefined && (organisation === null || organisationsOf(provider.settings).includes(organisation));
      if (!fits) {
        note('federated sign-in refused', { provider: id, reason: 'no such provider for this organisation' });
        return err('access_denied');
      }
      const state = randomBytes(32).toString('base64url');
      try {
        const { url, secret } = await provider.upstream.begin({ state, asked, chooseAccount });
        flows.begin({ interaction, provider: id, state, secret, asked });
        return ok(url);
      } catch (error) {
        return err(failed(error, id));
      }
    },
    finish: async (interaction, receipt, organisation) => {
      const flow = flows.take(interaction, receipt);
      const provider = flow === null ? undefined : providers.get(flow.provider);
      if (flow === null || provider === undefined) {
        note('federated sign-in refused', { reason: 'no answered sign-in is waiting in this browser' });
        return err('access_denied');
      }
      const { settings, upstream } = provider;
      const refuse = (reason: string, code: FailedSignIn = 'access_denied') => {
        note('federated sign-in refused', { provider: settings.id, reason });
        return err(code);
      };
      let answer;
      try {
        answer = await upstream.finish(flow.answer, flow.secret);
      } catch (error) {
        return err(failed(error, settings.id));
      }
      const { claims, ...said } = answer;
      const facts = { ...said, acr: acrOf(flow.asked, said) };
      const times = {
        startedAt: flow.startedAt,
        now: Math.floor(clock.now() / 1_000),
        skew: settings.clockSkewSeconds,
      };
      const problem = stepUpProblem(flow.asked, facts, times);
      if (problem !== null)
        return refuse(`not the sign-in that was asked for: ${problem}`, 'unmet_authentication_requirements');
      const person = readSignIn(settings, claims);
      if (!person.ok) return refuse(sayRefusal(person.error));
      if (organisation !== null && person.value.organisation !== organisation)
        return refuse('the person is of another organisation');
      accounts.save(person.value, facts);
      return ok({ person: person.value, facts });
    },
    routes: async (ctx, next) => {
      const [, id = '', step] = ROUTE.exec(ctx.path) ?? [];
      const provider = providers.get(id);
      if (step === undefined || provider === undefined) return next();
      const { protocol } = provider.settings;
      if (step === 'metadata' && protocol === 'saml' && (ctx.method === 'GET' || ctx.method === 'HEAD')) {
        ctx.set({ 'content-type': 'application/samlmetadata+xml; charset=utf-8', 'cache-control': 'no-store' });
        ctx.body = await provider.upstream.metadata();
        return undefined;
      }
      if (step === 'callback' && protocol === 'oidc' && ctx.method === 'GET') {
        const query = ctx.querystring;
        return comeBack(ctx, id, new URLSearchParams(query).get('state'), query.length > MAX_QUERY ? null : query);
      }
      if (step === 'acs' && protocol === 'saml' && ctx.method === 'POST') {
        if (!ctx.is('application/x-www-form-urlencoded')) throw new errors.InvalidRequest('send a form', 415);
        const body = await readBody(ctx.req, MAX_FORM);
        if (body === null) throw new errors.InvalidRequest('the form is too large', 413);
        const form = new URLSearchParams(body);
        const answers = form.getAll('SAMLResponse');
        return comeBack(ctx, id, form.get('RelayState'), answers.length === 1 ? (answers[0] ?? null) : null);
      }
      return next();
    },
  };

  /**
   * The provider's answer, from any browser: kept, and the browser sent to the interaction, whose cookie it must hold, with
   * a receipt that no other browser gets.
   * ATTACKER-CONTROLLED: an answer that nobody waits for leaves no trace but a log line.
   */
  function comeBack(ctx: Context, provider: string, state: string | null, answer: string | null): void {
    const kept = state !== null && STATE.test(state) && answer !== null ? flows.answer(provider, state, answer) : null;
    if (kept === null) {
      note('federated sign-in refused', { provider, reason: 'an answer that no sign-in under way waits for' });
      throw new errors.SessionNotFound('this sign-in is not under way here, or was finished before; start again');
    }
    ctx.status = 303;
    ctx.redirect(`/interaction/${kept.interaction}/federation?receipt=${kept.receipt}`);
    ctx.body = '';
  }
}
