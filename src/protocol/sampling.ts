/**
 * Sampling: a server asks the client's model for a message (`sampling/createMessage`). The question as each revision has it, and the
 * answer held against it. `includeContext` is never passed on: it would hand one server what others said, and is deprecated.
 * Not done here: inspection; whether the answer's kind of content is one an older server knows.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { contentFor, contentListFor } from './content-blocks.ts';
import { LATEST_LEGACY, type ProtocolVersion, has } from './versions.ts';

const MAX_MESSAGES = 1000;
const MAX_TOOLS = 100;
const MAX_BLOCKS = 100;
/** Members of a tool that a model is told of. */
const TOOL = ['name', 'title', 'description', 'inputSchema', 'outputSchema', 'annotations'];
const MODES: readonly unknown[] = ['auto', 'required', 'none'];

/** `tools`: whether the client declared `sampling.tools`. Without it a question that brings tools cannot be asked. */
export function samplingFor(params: JsonObject, version: ProtocolVersion, tools: boolean): JsonObject | null {
  const withTools = tools && has(version, 'samplingTools');
  const { messages, maxTokens, tools: offered, toolChoice } = params;
  if (!Array.isArray(messages) || messages.length > MAX_MESSAGES || !Number.isSafeInteger(maxTokens)) return null;
  if ((offered !== undefined || toolChoice !== undefined) && !withTools) return null;
  const shown: JsonObject[] = [];
  for (const message of messages as readonly Json[]) {
    const converted = isJsonObject(message) ? messagesFor(message, version, withTools) : null;
    if (converted === null) return null;
    shown.push(...converted);
  }
  const result: Record<string, Json> = { messages: shown, maxTokens: maxTokens as number };
  for (const [key, fits] of Object.entries(OPTIONAL)) {
    const value = params[key];
    if (value === undefined) continue;
    if (!fits(value)) return null;
    result[key] = value;
  }
  if (offered !== undefined) {
    const kept = toolsFor(offered);
    if (kept === null) return null;
    result['tools'] = kept;
  }
  if (toolChoice !== undefined) {
    if (!isJsonObject(toolChoice) || !(toolChoice['mode'] === undefined || MODES.includes(toolChoice['mode'])))
      return null;
    result['toolChoice'] = toolChoice['mode'] === undefined ? {} : { mode: toolChoice['mode'] };
  }
  return result;
}

const isTexts = (value: Json): boolean =>
  Array.isArray(value) && (value as readonly Json[]).every((one) => typeof one === 'string');

const OPTIONAL: Readonly<Record<string, (value: Json) => boolean>> = {
  modelPreferences: isJsonObject,
  systemPrompt: (value) => typeof value === 'string',
  temperature: (value) => typeof value === 'number',
  stopSequences: isTexts,
  metadata: isJsonObject,
};

/** One message, or one for each block where a message has only one. */
function messagesFor(message: JsonObject, version: ProtocolVersion, withTools: boolean): JsonObject[] | null {
  const { role, content = null } = message;
  if (role !== 'user' && role !== 'assistant') return null;
  const blocks = Array.isArray(content) ? (content as readonly Json[]) : [content];
  if (blocks.length > MAX_BLOCKS) return null;
  const shown: JsonObject[] = [];
  for (const block of blocks) {
    const converted = sampleBlock(block, version, withTools);
    if (!converted.ok) return null;
    shown.push(converted.value);
  }
  if (!Array.isArray(content) || !has(version, 'samplingTools')) return shown.map((one) => ({ role, content: one }));
  return [{ role, content: shown }];
}

function toolsFor(offered: Json): JsonObject[] | null {
  if (!Array.isArray(offered) || offered.length > MAX_TOOLS) return null;
  const kept: JsonObject[] = [];
  for (const tool of offered as readonly Json[]) {
    if (!isJsonObject(tool) || typeof tool['name'] !== 'string' || !isJsonObject(tool['inputSchema'])) return null;
    kept.push(Object.fromEntries(Object.entries(tool).filter(([key]) => TOOL.includes(key))));
  }
  return kept;
}

/** Text, pictures and sound; with tools also their use and what came of it. Links and resources have no place in a sample. */
function sampleBlock(block: Json, version: ProtocolVersion, withTools: boolean): Result<JsonObject, string> {
  if (!isJsonObject(block)) return err('a content block is not an object');
  switch (block['type']) {
    case 'text':
    case 'image':
    case 'audio':
      return contentFor(block, version);
    case 'tool_use': {
      const { id, name, input } = block;
      if (!withTools || typeof id !== 'string' || typeof name !== 'string' || !isJsonObject(input)) break;
      return ok({ type: 'tool_use', id, name, input });
    }
    case 'tool_result': {
      const { toolUseId, content = [], structuredContent, isError } = block;
      if (!withTools || typeof toolUseId !== 'string') break;
      if (isError !== undefined && typeof isError !== 'boolean') break;
      const blocks = contentListFor(content, version);
      if (!blocks.ok) return blocks;
      const structured =
        isJsonObject(structuredContent) || has(version, 'anyJsonOutput') ? structuredContent : undefined;
      return ok({
        type: 'tool_result',
        toolUseId,
        content: blocks.value,
        ...(structured === undefined ? {} : { structuredContent: structured }),
        ...(isError === undefined ? {} : { isError }),
      });
    }
  }
  return err('a content block has a type that was not asked for');
}

/** A client's answer. Several blocks, and the use of tools, only where the question brought tools. */
export function checkSample(params: JsonObject, answer: JsonObject): Result<JsonObject, string> {
  const { role, content = null, model, stopReason } = answer;
  const withTools = params['tools'] !== undefined;
  if (role !== 'user' && role !== 'assistant') return err('role is neither user nor assistant');
  if (typeof model !== 'string') return err('model is not a string');
  if (stopReason !== undefined && typeof stopReason !== 'string') return err('stopReason is not a string');
  const blocks = Array.isArray(content) ? (content as readonly Json[]) : [content];
  if (blocks.length > MAX_BLOCKS) return err(`content has more than ${MAX_BLOCKS} blocks`);
  if (blocks.length !== 1 && !withTools) return err('content is not one block');
  const kept: JsonObject[] = [];
  for (const block of blocks) {
    // What a revision later than the question's could say more is not said.
    const one = sampleBlock(block, LATEST_LEGACY, withTools);
    if (!one.ok) return one;
    kept.push(one.value);
  }
  return ok({
    role,
    content: Array.isArray(content) && withTools ? kept : kept[0]!,
    model,
    ...(stopReason === undefined ? {} : { stopReason }),
  });
}
