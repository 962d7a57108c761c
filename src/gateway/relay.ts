/**
 * What one node does for another: takes an answer to a question it asked, and goes on with a call that is parked here for a retry that
 * came in elsewhere. The letter says who called and with what token, as the other node verified it; nothing else in it is believed: standing,
 * locks, the item, the arguments and whose the state is are decided here again, on this node's snapshot, before anything is touched.
 */
import { z } from 'zod';
import type { Caller } from '../identity/caller.ts';
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Envelope } from '../protocol/meta.ts';
import { methodRule } from '../protocol/methods.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import type { UpstreamReply } from '../upstream/connection.ts';
import { admitted } from './answer.ts';
import type { Call, Facts } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import type { Guard } from './guard.ts';
import { sameArguments, stateIsTheirs } from './guards/state-is-theirs.ts';
import type { Inflight } from './inflight.ts';
import type { Mail, Take } from './mail.ts';
import { CLOSED } from './outlet.ts';
import { refuse } from './refuse.ts';
import { subjectOf } from './subject.ts';
import { takeUp } from './use-item.ts';
import type { Reply } from './wire.ts';

const ANSWER_WITHIN_MS = 5_000;
const RETRY_WITHIN_MS = 60_000;
/** Answers of one session on their way to other nodes. ATTACKER-CONTROLLED: the id of an answer names the node. */
const MAX_ANSWERS = 20;

const json = <T>() => z.custom<T>((value) => isJsonObject(value));

const Letter = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('answer'), id: z.string(), session: z.string(), reply: json<UpstreamReply>() }),
  z.strictObject({
    kind: z.literal('retry'),
    park: z.string(),
    call: z.strictObject({ id: z.string(), startedAt: z.number(), trace: z.string().nullable() }),
    endpoint: z.strictObject({
      org: z.string(),
      server: z.string().nullable(),
      resource: z.string(),
      metadataUrl: z.string(),
    }),
    caller: z.strictObject({
      issuer: z.string(),
      subject: z.string(),
      clientId: z.string(),
      alone: z.boolean(),
      scopes: z.array(z.string()),
      tokenId: z.string(),
      issuedAt: z.number(),
      expiresAt: z.number(),
      actChain: z.array(z.string()),
      grantId: z.string().nullable(),
      sessionId: z.string().nullable(),
      acr: z.string().nullable(),
      amr: z.array(z.string()),
      authTime: z.number().nullable(),
      keyThumbprint: z.string().nullable(),
      attributes: z.record(z.string(), z.array(z.string())),
    }),
    approval: z.strictObject({ id: z.string(), call: z.string() }).nullable(),
    headers: z.record(z.string(), z.string()),
    message: z.strictObject({
      id: z.union([z.string(), z.number()]),
      method: z.string(),
      params: json<JsonObject>(),
      meta: json<Envelope & JsonObject>(),
      name: z.string().nullable(),
      protocolVersion: z.string().nullable(),
    }),
  }),
  z.strictObject({ kind: z.literal('gone'), letter: z.string() }),
]);
type Letter = z.infer<typeof Letter>;
type Retry = Extract<Letter, { kind: 'retry' }>;

export interface Relay extends Pick<AnswerDeps, 'relayAnswer' | 'relayRetry'> {
  /** From now on this node does what others ask of it. */
  attend(deps: AnswerDeps & { readonly callTimeoutMs: number }): Promise<() => void>;
}

export function relay(mail: Mail): Relay {
  const underway = new Map<string, number>();
  return {
    async relayAnswer(node, id, session, reply) {
      const count = underway.get(session) ?? 0;
      if (count >= MAX_ANSWERS) return false;
      underway.set(session, count + 1);
      try {
        const letter = { kind: 'answer', id, session, reply } as const;
        const said = await mail.ask(node, letter as unknown as JsonObject, ANSWER_WITHIN_MS, null);
        return said?.['taken'] === true;
      } finally {
        const left = underway.get(session)! - 1;
        if (left === 0) underway.delete(session);
        else underway.set(session, left);
      }
    },
    async relayRetry(call, message, park) {
      const said = await mail.ask(park.node, retryOf(call, message, park.id), RETRY_WITHIN_MS, call.inflight.signal);
      return isJsonObject(said?.['reply']) ? (said['reply'] as unknown as Reply) : null;
    },
    attend: (deps) => mail.attend(deps.node, taker(deps)),
  };
}

function retryOf(call: Call, { id, method, params, meta, name, protocolVersion }: InboundRequest, park: string) {
  const { caller, approval } = call.facts;
  const letter: Retry = {
    kind: 'retry',
    park,
    call: { id: call.id, startedAt: call.startedAt, trace: call.trace },
    endpoint: call.endpoint,
    caller: {
      ...caller!,
      scopes: [...caller!.scopes],
      actChain: [...caller!.actChain],
      amr: [...caller!.amr],
      attributes: Object.fromEntries(Object.entries(caller!.attributes).map(([name, values]) => [name, [...values]])),
    },
    approval: approval ?? null,
    // What mirrors arguments is compared with them again; nothing else of the request's headers is passed on, least of all its token.
    headers: Object.fromEntries(
      Object.entries(call.headers).flatMap(([header, value]) =>
        header.startsWith('mcp-param-') && typeof value === 'string' ? [[header, value]] : [],
      ),
    ),
    message: { id, method, params, meta: meta as Envelope & JsonObject, name, protocolVersion },
  };
  return letter as unknown as JsonObject;
}

function taker(deps: AnswerDeps & { readonly callTimeoutMs: number }): Take {
  const retries = new Map<string, Inflight>();
  return async (body, id) => {
    const letter = Letter.parse(body);
    switch (letter.kind) {
      case 'answer':
        return { taken: deps.desk.take(letter.id, letter.session, letter.reply) };
      case 'gone': {
        const inflight = retries.get(letter.letter);
        if (inflight) deps.inflight.cancel(inflight, 'client_gone');
        return null;
      }
      case 'retry': {
        const call = callOf(letter, deps);
        retries.set(id, call.inflight);
        try {
          const reply = await answerRetry(call, call.message as InboundRequest, letter.park, deps);
          return reply && { reply: reply as unknown as JsonObject };
        } finally {
          retries.delete(id);
          if (!call.inflight.held) deps.inflight.close(call.inflight);
        }
      }
    }
  };
}

function callOf(letter: Retry, deps: AnswerDeps & { readonly callTimeoutMs: number }): Call {
  const { endpoint, headers } = letter;
  const { method } = letter.message;
  const message: InboundRequest = {
    ...letter.message,
    kind: 'request',
    era: 'modern',
    rule: methodRule(method, 'modern', 'request')!,
    accepts: { json: true, sse: false },
  };
  const caller: Caller = { ...letter.caller, scopes: new Set(letter.caller.scopes) };
  const facts: Partial<Facts> = { caller };
  if (letter.approval) facts.approval = letter.approval as Facts['approval'];
  return {
    ...letter.call,
    endpoint,
    message,
    subject: subjectOf(endpoint, message),
    outlet: CLOSED,
    headers,
    rawHeaders: [],
    rawUrl: '',
    httpMethod: 'POST',
    inflight: deps.inflight.open(letter.call.id, deps.callTimeoutMs),
    snapshot: deps.snapshot(),
    facts,
    stoppedBy: null,
  };
}

/** Null: what it is about is not here. */
async function answerRetry(call: Call, message: InboundRequest, park: string, deps: AnswerDeps): Promise<Reply | null> {
  const measure = deps.telemetry.start(message.method, message.meta.trace);
  if (call.facts.caller!.expiresAt * 1000 <= deps.ports.clock.now()) return null;
  const denial = (await deps.pipeline.readmit(call, 'call', deps.ports)) ?? (await statesDenial(call, deps));
  if (denial) return refuse(call, denial, deps, measure);
  admitted(call);
  const { resumed } = call.facts;
  if (resumed?.park?.node !== deps.node || resumed.park.id !== park) return null;
  return takeUp(call, message, resumed.park, deps, measure);
}

async function statesDenial(call: Call, deps: AnswerDeps): Promise<Denial | null> {
  for (const guard of [stateIsTheirs, sameArguments] as readonly Guard[]) {
    const verdict = guard.decide(call, await guard.gather(call, deps.ports));
    if (!verdict.pass) {
      call.stoppedBy = guard.name;
      return verdict.denial;
    }
    Object.assign(call.facts, verdict.learned);
  }
  return null;
}
