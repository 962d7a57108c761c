/**
 * The families that use an item of a server, as a table: what goes to the server, how what comes back is inspected and shaped,
 * whether the server may ask in between. Everything else about them is one sequence (perform.ts).
 */
import type { CameKind } from '../content/kinds.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { completionResult, promptResult, resourceResult, toolsCallResult } from '../protocol/results.ts';
import type { Facing, ResultRefusal } from '../protocol/results.ts';
import type { MethodFamily } from '../protocol/methods.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';

export type UseFamily = Extract<MethodFamily, 'call' | 'prompt' | 'read' | 'complete'>;

interface Use {
  readonly params: (call: Call) => JsonObject;
  /** As what its result is looked at. */
  readonly inspect: CameKind;
  readonly shape: (call: Call, facing: Facing, result: JsonObject) => Result<JsonObject, ResultRefusal>;
  /** Whether `input_required` may answer it (MRTR, Supported Requests). */
  readonly asks: boolean;
}

const arguments_ = (call: Call): JsonObject => ({
  name: known(call, 'tool').name,
  arguments: known(call, 'arguments'),
});

export const USES: Readonly<Record<UseFamily, Use>> = {
  call: {
    params: arguments_,
    inspect: 'result',
    shape: (call, facing, result) => {
      const outputSchema = known(call, 'tool').approved!.definition['outputSchema'] as JsonObject | undefined;
      return toolsCallResult(facing, result, outputSchema ? { outputSchema } : {});
    },
    asks: true,
  },
  prompt: {
    params: arguments_,
    inspect: 'prompt',
    shape: (_call, facing, result) => promptResult(facing, result, {}),
    asks: true,
  },
  read: {
    params: (call) => ({ uri: call.subject.name ?? '' }),
    inspect: 'resource',
    // Nobody may keep what policy decided for one caller at one moment.
    shape: (_call, facing, result) => resourceResult(facing, result, { ttlMs: 0 }),
    asks: true,
  },
  complete: {
    params: (call) => {
      const { argument, context } = call.message.params;
      const { kind, name } = call.subject;
      const reference = kind === 'prompt' ? { type: 'ref/prompt', name } : { type: 'ref/resource', uri: name };
      const { name: argumentName, value } = argument as JsonObject;
      const others = (context as JsonObject | undefined)?.['arguments'];
      return {
        ref: reference,
        argument: { name: argumentName as string, value: value as string },
        ...(others !== undefined && { context: { arguments: others } }),
      };
    },
    inspect: 'members',
    shape: (_call, facing, result) => completionResult(facing, result),
    asks: false,
  },
};
