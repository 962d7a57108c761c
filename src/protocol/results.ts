/** signatures first; the bodies follow in the next commit */
import type { JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import type { Era, ProtocolVersion } from './versions.ts';

/** Name and version we show as ours. */
export interface Implementation {
  readonly name: string;
  readonly version: string;
  readonly title?: string;
}

/** Whom a result is for. */
export interface Facing {
  readonly era: Era;
  readonly version: ProtocolVersion;
  readonly serverInfo: Implementation;
}

export interface ServerCard {
  readonly capabilities: JsonObject;
  readonly instructions: string | null;
}

/** Why an upstream result is not passed on. */
export type ResultRefusal =
  | { readonly reason: 'result_type'; readonly resultType: string }
  | { readonly reason: 'shape'; readonly problem: string };

export interface CallFacts {
  /** The approved output schema of the tool: decides whether structured content is wrapped for older clients (L12). */
  readonly outputSchema?: JsonObject;
  /** Our own `_meta` members, for example the receipt reference. */
  readonly meta?: JsonObject;
}

export type InitializeResult = (facing: Facing, card: ServerCard) => JsonObject;
export type DiscoverResult = (facing: Facing, card: ServerCard, ttlMs: number) => JsonObject;
export type EmptyResult = (facing: Facing) => JsonObject;
export type ToolsListResult = (
  facing: Facing,
  tools: readonly JsonObject[],
  page: { readonly nextCursor: string | null; readonly ttlMs: number },
) => JsonObject;
export type ToolsCallResult = (
  facing: Facing,
  upstream: JsonObject,
  facts: CallFacts,
) => Result<JsonObject, ResultRefusal>;
export type ToolError = (facing: Facing, text: string, meta?: JsonObject) => JsonObject;
export type Republish = (definition: JsonObject, version: ProtocolVersion) => JsonObject;
