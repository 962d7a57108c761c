/**
 * The tools that the tasks scenarios call. To this server they are tools like others: their definitions say what they think of tasks,
 * and whoever serves the tasks extension in front of it makes tasks of them.
 */
import { ProtocolError, ProtocolErrorCode, acceptedContent, inputRequired } from '@modelcontextprotocol/server';
import { askName, form } from './questions.ts';
import { type Tool, NO_ARGUMENTS, pause, text, word } from './tool.ts';

const confirm = (message: string) => form(message, { confirm: { type: 'boolean' } }, ['confirm']);

export const JOBS: readonly Tool[] = [
  {
    name: 'greet',
    description: 'Greets at once.',
    inputSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
    run: ({ name }) => text(`Hello, ${word(name)}!`),
  },
  {
    name: 'slow_compute',
    description: 'Takes as many seconds as it is told.',
    inputSchema: {
      type: 'object',
      properties: { seconds: { type: 'number', minimum: 0, maximum: 120 }, label: { type: 'string' } },
      required: ['seconds'],
    },
    taskSupport: 'optional',
    run: async ({ seconds, label }, ctx) => {
      await pause(Number(seconds) * 1000, ctx.mcpReq.signal);
      return text(`${word(label ?? 'it')} took ${word(seconds)} s`);
    },
  },
  {
    name: 'failing_job',
    description: 'Fails as a tool after a second.',
    inputSchema: NO_ARGUMENTS,
    taskSupport: 'required',
    run: async (_args, ctx) => {
      await pause(1000, ctx.mcpReq.signal);
      return { ...text('The job failed on purpose.'), isError: true };
    },
  },
  {
    name: 'protocol_error_job',
    description: 'Fails as a request.',
    inputSchema: NO_ARGUMENTS,
    taskSupport: 'optional',
    run: () => {
      throw new ProtocolError(ProtocolErrorCode.InternalError, 'The job broke on purpose.');
    },
  },
  {
    name: 'confirm_delete',
    description: 'Asks before it deletes. It deletes nothing.',
    inputSchema: { type: 'object', properties: { filename: { type: 'string' } }, required: ['filename'] },
    taskSupport: 'optional',
    run: ({ filename }, ctx) => {
      const answer = acceptedContent(ctx.mcpReq.inputResponses, 'confirm');
      if (answer === undefined)
        return inputRequired({ inputRequests: { confirm: confirm(`Delete ${word(filename)}?`) } });
      return text(answer['confirm'] === true ? `Deleted ${word(filename)}.` : 'Nothing was deleted.');
    },
  },
  {
    name: 'multi_input',
    description: 'Asks two things at once.',
    inputSchema: NO_ARGUMENTS,
    taskSupport: 'optional',
    run: (_args, ctx) => {
      const first = acceptedContent(ctx.mcpReq.inputResponses, 'first');
      const second = acceptedContent(ctx.mcpReq.inputResponses, 'second');
      if (first && second) return text('Both answers are there.');
      return inputRequired({ inputRequests: { first: confirm('The first?'), second: confirm('The second?') } });
    },
  },
  {
    name: 'test_tool_with_task',
    description: 'Asks for a name, then works for a while.',
    inputSchema: NO_ARGUMENTS,
    taskSupport: 'required',
    run: async (_args, ctx) => {
      const name = acceptedContent(ctx.mcpReq.inputResponses, 'user_name')?.['name'];
      if (typeof name !== 'string') return inputRequired({ inputRequests: { user_name: askName() } });
      await pause(200, ctx.mcpReq.signal);
      return text(`The job of ${name} is done.`);
    },
  },
];
