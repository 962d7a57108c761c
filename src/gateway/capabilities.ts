/**
 * What we declare to clients: everything this endpoint answers, whichever server stands behind it, and nothing else (M7, PH-12).
 * A list that a server does not have is empty; a resource it does not tell of is left out when a modern client listens, and an old one waits in vain.
 */
import type { JsonObject } from '../lib/json.ts';
import type { Facing } from '../protocol/results.ts';
import { TASKS_EXTENSION } from '../protocol/tasks.ts';
import { has } from '../protocol/versions.ts';
import type { Call } from './call.ts';

const LEGACY_TASKS: JsonObject = { list: {}, cancel: {}, requests: { tools: { call: {} } } };
/** Tasks were part of this revision alone; the next one has them as an extension. */
export const keepsTasks = (version: string): boolean => version === '2025-11-25';

export function capabilitiesOf(call: Call, { era, version }: Facing): JsonObject {
  const base: JsonObject = {
    tools: { listChanged: true },
    prompts: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    logging: {},
    ...(has(version, 'completions') && { completions: {} }),
  };
  if (era === 'legacy') return keepsTasks(version) ? { ...base, tasks: LEGACY_TASKS } : base;
  const extensions = Object.fromEntries((call.facts.server?.record.extensions ?? []).map((id) => [id, {}]));
  return { ...base, extensions: { ...extensions, [TASKS_EXTENSION]: {} } };
}
