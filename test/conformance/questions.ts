/**
 * The tools of the everything server that ask the person or the model behind the call. Each is written once, as a multi-round tool:
 * until the answers it needs are there, it answers with its questions. In front of a legacy client the SDK turns them into real requests.
 */
import {
  type InputRequests,
  ProtocolError,
  ProtocolErrorCode,
  acceptedContent,
  inputRequired,
  inputResponse,
} from '@modelcontextprotocol/server';
import { type Tool, NO_ARGUMENTS, text, word } from './tool.ts';

type ElicitSchema = Extract<Parameters<typeof inputRequired.elicit>[0]['requestedSchema'], { type: 'object' }>;

export const form = (message: string, properties: ElicitSchema['properties'], required: readonly string[] = []) =>
  inputRequired.elicit({ message, requestedSchema: { type: 'object', properties, required: [...required] } });
export const askName = () => form('What is your name?', { name: { type: 'string' } }, ['name']);
const askModel = (prompt: string) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 64 });

const multiRound = (part: string, description: string, run: Tool['run']): Tool => ({
  name: `test_input_required_result_${part}`,
  description,
  inputSchema: NO_ARGUMENTS,
  run,
});

/** What the model said, as text, or undefined as long as nobody asked it. */
function modelSaid(responses: Record<string, unknown> | undefined, key: string): string | undefined {
  const response = inputResponse(responses, key);
  if (response.kind !== 'sampling') return undefined;
  const { content } = response.result;
  return JSON.stringify(content);
}

/** Asks with one form and says what came back, whatever it was. */
const asksOnce = (name: string, description: string, properties: ElicitSchema['properties']): Tool => ({
  name,
  description,
  inputSchema: NO_ARGUMENTS,
  run: (_args, ctx) => {
    const response = inputResponse(ctx.mcpReq.inputResponses, 'form');
    if (response.kind !== 'elicit')
      return inputRequired({ inputRequests: { form: form('Please fill in.', properties) } });
    const content = response.action === 'accept' ? response.content : {};
    return text(`Elicitation completed: action=${response.action}, content=${JSON.stringify(content)}`);
  },
});

const choices = (...names: readonly string[]) => names.map((title, index) => ({ const: `value${index + 1}`, title }));

export const ASKING: readonly Tool[] = [
  {
    name: 'test_sampling',
    description: 'Asks the model.',
    inputSchema: { type: 'object', properties: { prompt: { type: 'string' } }, required: ['prompt'] },
    run: ({ prompt }, ctx) => {
      const said = modelSaid(ctx.mcpReq.inputResponses, 'model');
      if (said === undefined) return inputRequired({ inputRequests: { model: askModel(word(prompt)) } });
      return text(`The model said ${said}`);
    },
  },
  {
    name: 'test_elicitation',
    description: 'Asks the person.',
    inputSchema: { type: 'object', properties: { message: { type: 'string' } }, required: ['message'] },
    run: ({ message }, ctx) => {
      const response = inputResponse(ctx.mcpReq.inputResponses, 'person');
      if (response.kind !== 'elicit') {
        const question = form(word(message), { response: { type: 'string' } }, ['response']);
        return inputRequired({ inputRequests: { person: question } });
      }
      const content = response.action === 'accept' ? response.content : {};
      return text(`User response: action=${response.action}, content=${JSON.stringify(content)}`);
    },
  },
  asksOnce('test_elicitation_sep1034_defaults', 'Asks with a form whose fields have defaults.', {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  }),
  asksOnce('test_elicitation_sep1330_enums', 'Asks with a form that has every kind of choice.', {
    untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
    titledSingle: { type: 'string', oneOf: choices('First Option', 'Second Option', 'Third Option') },
    legacyEnum: {
      type: 'string',
      enum: ['opt1', 'opt2', 'opt3'],
      enumNames: ['Option One', 'Option Two', 'Option Three'],
    },
    untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
    titledMulti: { type: 'array', items: { anyOf: choices('First Choice', 'Second Choice', 'Third Choice') } },
  }),
  {
    name: 'test_missing_capability',
    description: 'Asks the model, whether the client has one or not.',
    inputSchema: NO_ARGUMENTS,
    run: (_args, ctx) => {
      const said = modelSaid(ctx.mcpReq.inputResponses, 'model');
      return said === undefined
        ? inputRequired({ inputRequests: { model: askModel('Say pong.') } })
        : text(`The model said ${said}`);
    },
  },
  multiRound('elicitation', 'Asks for a name.', (_args, ctx) => {
    const name = acceptedContent(ctx.mcpReq.inputResponses, 'user_name')?.['name'];
    return typeof name === 'string'
      ? text(`Hello, ${name}!`)
      : inputRequired({ inputRequests: { user_name: askName() } });
  }),
  multiRound('sampling', 'Asks the model for a capital.', (_args, ctx) => {
    const said = modelSaid(ctx.mcpReq.inputResponses, 'capital_question');
    return said === undefined
      ? inputRequired({ inputRequests: { capital_question: askModel('Which city is the capital of France?') } })
      : text(`The model said ${said}`);
  }),
  multiRound('list_roots', 'Asks for the roots.', (_args, ctx) => {
    const response = inputResponse(ctx.mcpReq.inputResponses, 'client_roots');
    return response.kind === 'roots'
      ? text(`Roots: ${response.roots.map(({ uri }) => uri).join(' ')}`)
      : inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  }),
  multiRound(
    'request_state',
    'Asks for a confirmation and checks the state that comes back.',
    async (_args, ctx, around) => {
      if (acceptedContent(ctx.mcpReq.inputResponses, 'confirm') === undefined) {
        return inputRequired({
          inputRequests: { confirm: form('Please confirm.', { ok: { type: 'boolean' } }, ['ok']) },
          requestState: await around.seal({ step: 'confirm' }),
        });
      }
      if (ctx.mcpReq.requestState() === undefined)
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'The requestState is missing.');
      return text('state-ok');
    },
  ),
  multiRound(
    'tampered_state',
    'Asks for a confirmation; a state that was changed is refused.',
    async (_args, ctx, around) => {
      const confirmed = acceptedContent(ctx.mcpReq.inputResponses, 'confirm') !== undefined;
      if (confirmed && ctx.mcpReq.requestState() !== undefined) return text('state-ok');
      return inputRequired({
        inputRequests: { confirm: form('Please confirm.', { ok: { type: 'boolean' } }, ['ok']) },
        requestState: await around.seal({ step: 'confirm' }),
      });
    },
  ),
  multiRound('multiple_inputs', 'Asks for a name, a greeting and the roots at once.', async (_args, ctx, around) => {
    const responses = ctx.mcpReq.inputResponses;
    const name = acceptedContent(responses, 'user_name')?.['name'];
    const greeting = modelSaid(responses, 'greeting');
    const roots = inputResponse(responses, 'client_roots');
    if (typeof name === 'string' && greeting !== undefined && roots.kind === 'roots')
      return text(`${greeting} ${name}, ${roots.roots.length} roots`);
    return inputRequired({
      inputRequests: {
        user_name: askName(),
        greeting: askModel('Greet somebody.'),
        client_roots: inputRequired.listRoots(),
      },
      requestState: await around.seal({ step: 'inputs' }),
    });
  }),
  multiRound('multi_round', 'Asks twice; the state knows the round.', async (_args, ctx, around) => {
    const state = ctx.mcpReq.requestState<{ round?: unknown; name?: unknown }>();
    const answered = (step: string, field: string) =>
      word(acceptedContent(ctx.mcpReq.inputResponses, step)?.[field] ?? 'nobody');
    if (state?.round === undefined) {
      return inputRequired({ inputRequests: { step1: askName() }, requestState: await around.seal({ round: 1 }) });
    }
    if (state.round === 1) {
      return inputRequired({
        inputRequests: { step2: form('Which colour?', { color: { type: 'string' } }, ['color']) },
        requestState: await around.seal({ round: 2, name: answered('step1', 'name') }),
      });
    }
    return text(`${word(state.name)} likes ${answered('step2', 'color')}`);
  }),
  multiRound('capabilities', 'Asks only what the client says it can answer.', (_args, ctx, around) => {
    if (ctx.mcpReq.inputResponses !== undefined) return text('All answers are there.');
    const declared = around.declared(ctx);
    const inputRequests: InputRequests = {
      ...(declared?.elicitation && { user_name: askName() }),
      ...(declared?.sampling && { greeting: askModel('Greet somebody.') }),
      ...(declared?.roots && { client_roots: inputRequired.listRoots() }),
    };
    return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : text('Nothing can be asked.');
  }),
];
