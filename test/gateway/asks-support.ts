/** Two servers that ask before they answer, one of each era, and what a client does with that by hand. */
import type { JsonObject } from '../../src/lib/json.ts';
import { TOOLS } from '../support/rig.ts';
import type { Answer, CallOptions, Rig, ServerSpec } from '../support/rig.ts';
import type { Sink } from '../support/upstreams/sink.ts';

export const FORM = {
  mode: 'form',
  message: 'Which colour?',
  requestedSchema: {
    type: 'object',
    properties: { colour: { type: 'string', enum: ['red', 'blue'] } },
    required: ['colour'],
  },
} as const;
export const SAMPLE = { messages: [{ role: 'user', content: { type: 'text', text: 'A haiku' } }], maxTokens: 10 };
export const VISIT = { mode: 'url', message: 'Sign in there', url: 'https://bank.test/sign-in', elicitationId: 'e1' };

/** By kind of question: the method and its params. */
export const QUESTIONS = {
  'elicitation.form': ['elicitation/create', FORM],
  'elicitation.url': ['elicitation/create', VISIT],
  sampling: ['sampling/createMessage', SAMPLE],
  roots: ['roots/list', {}],
} as const;
export type Kind = keyof typeof QUESTIONS;
export const KINDS = Object.keys(QUESTIONS) as readonly Kind[];

/** What a client declares so that it can be asked this. */
export const DECLARED: Readonly<Record<Kind, JsonObject>> = {
  'elicitation.form': { elicitation: { form: {} } },
  'elicitation.url': { elicitation: { url: {} } },
  sampling: { sampling: {} },
  roots: { roots: {} },
};
export const GOOD: Readonly<Record<Kind, JsonObject>> = {
  'elicitation.form': { action: 'accept', content: { colour: 'red' } },
  'elicitation.url': { action: 'accept' },
  sampling: { role: 'assistant', content: { type: 'text', text: 'a haiku' }, model: 'm' },
  roots: { roots: [{ uri: 'file:///work' }] },
};

type Members = Record<string, unknown>;
export const STATE = 'what only the server may read';

/** Asks one question, and answers with what it was told: `told {...}`. */
export function asksOnce(sink: Sink, kind: Kind = 'elicitation.form', params: Members = QUESTIONS[kind][1]): void {
  const [method] = QUESTIONS[kind];
  const told = (value: unknown): Members => ({ content: [{ type: 'text', text: `told ${JSON.stringify(value)}` }] });
  sink.onCall(async ({ ask, message }) => {
    if (sink.era === 'legacy') {
      const { result, error } = await ask(method, params);
      return told(result ?? { error });
    }
    const { inputResponses, requestState } = message['params'] as Members;
    if ((inputResponses as Members | undefined)?.['q'] === undefined)
      return { resultType: 'input_required', inputRequests: { q: { method, params } }, requestState: STATE };
    return told({ ...(inputResponses as { q?: Members }).q, state: requestState });
  });
}

/** Whatever the server was told, by whichever way. */
export const told = (sink: Sink): readonly string[] =>
  sink.received
    .filter(({ message }) => message !== null && (message['method'] === undefined || withAnswers(message)))
    .map(({ body }) => body);
const withAnswers = (message: Members): boolean =>
  (message['params'] as Members | undefined)?.['inputResponses'] !== undefined;

export const ASKING_SERVERS: Readonly<Record<string, ServerSpec>> = {
  old: {
    era: 'legacy',
    tools: TOOLS,
    record: { asks: ['elicitation.form', 'elicitation.url', 'sampling', 'roots'], visits: ['bank.test'] },
  },
  new: {
    era: 'modern',
    tools: TOOLS,
    record: { asks: ['elicitation.form', 'elicitation.url', 'sampling', 'roots'], visits: ['bank.test'] },
  },
};

export const CAN_FILL: CallOptions = { capabilities: { elicitation: { form: {} } } };

export interface Asked {
  readonly state: string;
  readonly key: string;
  readonly answer: Answer;
}

/** The first leg of a modern client: what it was given to come back with. */
export function askedIn(answer: Answer): Asked {
  const { resultType, requestState, inputRequests } = answer.result ?? {};
  if (resultType !== 'input_required' || typeof requestState !== 'string')
    throw new Error(`not asked: ${answer.status} ${answer.text}`);
  return { state: requestState, key: Object.keys(inputRequests ?? {})[0] ?? '', answer };
}

export const TOOL_CALL = { name: 'write_note', arguments: { text: 'a note' } };

export async function firstLeg(rig: Rig, server: string, how: CallOptions = CAN_FILL): Promise<Asked> {
  return askedIn(await rig.ask(server, 'tools/call', TOOL_CALL, how));
}

export function retry(
  rig: Rig,
  server: string,
  { state, key }: Asked,
  answer: unknown = GOOD['elicitation.form'],
  how: CallOptions = CAN_FILL,
  params: JsonObject = TOOL_CALL,
  method = 'tools/call',
): Promise<Answer> {
  const again = { ...params, requestState: state, inputResponses: { [key]: answer as JsonObject } };
  return rig.ask(server, method, again, { id: 8, ...how });
}
