/** What a tool of the everything server is: a definition as plain JSON, and what it does. Shared words of the files that hold the tools. */
import type {
  CallToolResult,
  ClientCapabilities,
  InputRequiredResult,
  ServerContext,
} from '@modelcontextprotocol/server';
import type { JsonObject } from '../../src/lib/json.ts';

/** What one call may touch besides its own request. */
export interface Surroundings {
  /** Changes the tools, the prompts or a resource, and tells every client that listens, of either era. */
  change(what: 'tools' | 'prompts' | { readonly resource: string }): void;
  /** Closes the stream of this call, so that its client must come back for the answer. Nothing in the modern era. */
  closeStream(ctx: ServerContext): void;
  /** What the client of this call says it can do. */
  declared(ctx: ServerContext): ClientCapabilities | undefined;
  /** State that the client carries between two rounds, signed. */
  seal(state: Record<string, unknown>): Promise<string>;
}

export type Reply = CallToolResult | InputRequiredResult;

export interface Tool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: JsonObject;
  /** What the definition says about tasks. Left out: nothing. */
  readonly taskSupport?: 'optional' | 'required';
  run(args: JsonObject, ctx: ServerContext, around: Surroundings): Reply | Promise<Reply>;
}

export const NO_ARGUMENTS: JsonObject = { type: 'object', properties: {} };

export const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });

/** A value as a person would write it. */
export const word = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? null));

/** Waits, or ends early with an error when the call is cancelled. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stopped = () => {
      clearTimeout(timer);
      reject(new Error('cancelled'));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stopped);
      resolve();
    }, ms);
    if (signal.aborted) stopped();
    else signal.addEventListener('abort', stopped, { once: true });
  });
}

/** One pixel, and one sample of silence. */
export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGOQq4gCAAGoAPHvydioAAAAAElFTkSuQmCC';
export const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA==';
