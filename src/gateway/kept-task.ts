/** A task as it is kept: its record, what can change in it, and what of it a client is told (protocol/tasks.ts). No I/O. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { TaskFacts, TaskPayload, TaskStatus } from '../protocol/tasks.ts';

const POLL_INTERVAL_MS = 1_000;
/** People take longer than servers. */
const WAITING_POLL_MS = 5_000;

// Sealed by us from parsed JSON: only the outer shape can differ, between releases.
const Members = z.custom<JsonObject>((value) => isJsonObject(value));

export const Owner = z.strictObject({
  issuer: z.string(),
  subject: z.string(),
  client: z.string(),
  org: z.string(),
  /** Where it was begun, and where it is answered: a server's own endpoint or (null) the aggregate. */
  endpoint: z.string().nullable(),
  /** The results of one era mean nothing in the other. */
  era: z.enum(['modern', 'legacy']),
});
export type TaskOwner = z.infer<typeof Owner>;

export const Kept = z.strictObject({
  owner: Owner,
  server: z.string(),
  /** The tool, as its server calls it. */
  tool: z.string(),
  status: z.enum(['working', 'input_required', 'completed', 'failed', 'cancelled']),
  statusMessage: z.string().nullable(),
  /** ms since the epoch. */
  createdAt: z.number().int(),
  lastUpdatedAt: z.number().int(),
  ttlMs: z.number().int(),
  /** How long it stays after its end, at least. */
  restMs: z.number().int(),
  result: Members.nullable(),
  error: Members.nullable(),
  inputRequests: Members.nullable(),
  /** The approval it waits for: nothing was sent. Null or left out: it waits for none. */
  waits: z.string().nullable().exactOptional(),
  /** The W3C trace that its client named when it began: what it gives is received in that one, too. */
  trace: z.string().exactOptional(),
});
export type KeptTask = Readonly<z.infer<typeof Kept>>;

export const Answers = z.strictObject({
  responses: Members,
  /** Questions that, if `responses` does not settle them, get no answer. */
  declined: z.array(z.string()),
});
export type TaskAnswers = Readonly<z.infer<typeof Answers>>;

/** What changed; everything that goes with a status is set anew with it. */
export type TaskChange =
  | { readonly status: 'working'; readonly statusMessage?: string; readonly waits?: null }
  | { readonly status: 'input_required'; readonly inputRequests: JsonObject }
  | { readonly status: 'completed'; readonly result: JsonObject; readonly statusMessage?: string }
  | {
      readonly status: 'failed';
      readonly error: { readonly code: number; readonly message: string; readonly data?: Json };
    }
  | { readonly status: 'cancelled'; readonly statusMessage: string };

const ID = /^task_[A-Za-z0-9_-]{32}$/;
/** ATTACKER-CONTROLLED: the text. Only what passes becomes the name of a topic. */
export const isTaskId = (text: string): boolean => ID.test(text);
/** 192 random bits: nobody guesses one. */
export const newTaskId = (): string => `task_${randomBytes(24).toString('base64url')}`;

const OVER: ReadonlySet<TaskStatus> = new Set(['completed', 'failed', 'cancelled']);
export const isOver = ({ status }: { readonly status: TaskStatus }): boolean => OVER.has(status);

export const factsOf = (taskId: string, task: KeptTask): TaskFacts => ({
  taskId,
  status: task.status,
  statusMessage: task.statusMessage,
  createdAt: task.createdAt,
  lastUpdatedAt: task.lastUpdatedAt,
  ttlMs: task.ttlMs,
  pollIntervalMs: task.waits ? WAITING_POLL_MS : POLL_INTERVAL_MS,
  isError: task.result?.['isError'] === true,
});

export const payloadOf = ({ result, error, inputRequests }: KeptTask): TaskPayload => ({
  ...(result && { result }),
  ...(error && { error: error as NonNullable<TaskPayload['error']> }),
  ...(inputRequests && { inputRequests }),
});

/** The same status with the same questions: nothing that anybody need be told of. */
export function saysNothing(task: KeptTask, { status, inputRequests, waits }: Partial<KeptTask>): boolean {
  if (waits !== undefined && waits !== (task.waits ?? null)) return false;
  return status === task.status && JSON.stringify(inputRequests) === JSON.stringify(task.inputRequests);
}
