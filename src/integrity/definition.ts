/**
 * What exactly is pinned (TD-01): the whole definition, every member, known or not, in canonical form (RFC 8785), so that key order
 * and white space never alarm and nothing else can change unseen. Digests stand in records and log entries; they are compared as text.
 */
import { sha256Hex } from '../lib/bytes.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { canonicalJson, digestOf } from '../lib/canonical-json.ts';
import { hasHidden } from '../lib/hidden-text.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';

/** Real definitions are under 20 KB and 12 levels. */
const DEFINITION_LIMITS = { bytes: 262_144, depth: 64 } as const;

export type DefinitionProblem =
  | { readonly code: 'definition_not_object' }
  | { readonly code: 'definition_name'; readonly message: string }
  | { readonly code: 'definition_too_large'; readonly bytes: number }
  | { readonly code: 'definition_too_deep' }
  | { readonly code: 'definition_not_canonical' };

/** One definition from a server's list, within bounds, with its pin. */
export interface SeenDefinition {
  readonly name: string;
  readonly definition: JsonObject;
  readonly digest: Digest;
}

/** Reads one entry of a `tools/list` answer. Says nothing about its content: scan.ts and a reviewer do. */
export function readDefinition(value: unknown): Result<SeenDefinition, DefinitionProblem> {
  if (!isJsonObject(value)) return err({ code: 'definition_not_object' });
  const definition = value;
  if (!within(definition, DEFINITION_LIMITS.depth)) return err({ code: 'definition_too_deep' });
  const { name } = definition;
  // ATTACKER-CONTROLLED: a name that looks like another one is a finding; a name that hides something is no name.
  if (typeof name !== 'string' || name.length === 0 || name.length > 512 || /\s/.test(name) || hasHidden(name)) {
    return err({
      code: 'definition_name',
      message: 'a tool name is 1 to 512 visible characters without spaces',
    });
  }
  try {
    const text = canonicalJson(definition);
    const bytes = Buffer.byteLength(text);
    if (bytes > DEFINITION_LIMITS.bytes) return err({ code: 'definition_too_large', bytes });
    return ok({ name, definition, digest: `sha256:${sha256Hex(text)}` });
  } catch {
    return err({ code: 'definition_not_canonical' });
  }
}

/** The pin of a definition as the server sent it. ATTACKER-CONTROLLED: `readDefinition` first on anything from a server. */
export function definitionDigest(definition: JsonObject): Digest {
  return digestOf(definition);
}

/**
 * The pin of what a server says about itself. `instructions` reach the model like a description does, so they are pinned too.
 * `capabilities` are not: they steer the protocol, and what may be called is decided per tool.
 */
export function surfaceDigest(surface: {
  readonly serverInfo: JsonObject;
  readonly instructions: string | null;
}): Digest {
  return digestOf({ serverInfo: surface.serverInfo, instructions: surface.instructions });
}

function within(value: Json, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  return Object.values(value).every((item: Json) => within(item, levels - 1));
}
