/** Resources, prompts and completion of the everything server. */
import {
  type McpServer,
  type RegisteredPrompt,
  type ServerContext,
  ResourceTemplate,
  acceptedContent,
  inputRequired,
} from '@modelcontextprotocol/server';
import { z } from 'zod';
import { form } from './questions.ts';
import { PNG } from './tool.ts';

const user = (content: { type: 'text'; text: string } | { type: 'image'; data: string; mimeType: string }) => ({
  messages: [{ role: 'user' as const, content }],
});
const said = (value: string) => user({ type: 'text', text: value });

export function addResources(server: McpServer): void {
  const fixed = (name: string, mimeType: string, body: { text: string } | { blob: string }) =>
    server.registerResource(name, `test://${name}`, { description: `The resource ${name}.`, mimeType }, (uri) => ({
      contents: [{ uri: uri.href, mimeType, ...body }],
    }));
  fixed('static-text', 'text/plain', { text: 'The text of a resource.' });
  fixed('static-binary', 'image/png', { blob: PNG });
  fixed('watched-resource', 'text/plain', { text: 'Somebody may watch this.' });
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { description: 'One record by its id.', mimeType: 'application/json' },
    (uri, { id }) => ({
      contents: [
        { uri: uri.href, mimeType: 'application/json', text: JSON.stringify({ id, data: `Data of ${String(id)}` }) },
      ],
    }),
  );
  // Who watches is of no interest here: a change is announced to everybody, and the scenarios only look at the answer.
  server.server.setRequestHandler('resources/subscribe', () => ({}));
  server.server.setRequestHandler('resources/unsubscribe', () => ({}));
}

/** Returns the prompt that comes and goes. */
export function addPrompts(server: McpServer): RegisteredPrompt {
  server.registerPrompt('test_simple_prompt', { description: 'One sentence.' }, () => said('A simple prompt.'));
  server.registerPrompt(
    'test_prompt_with_arguments',
    { description: 'Repeats its arguments.', argsSchema: z.object({ arg1: z.string(), arg2: z.string() }) },
    ({ arg1, arg2 }) => said(`The arguments are '${arg1}' and '${arg2}'.`),
  );
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'Holds a resource.', argsSchema: z.object({ resourceUri: z.string() }) },
    ({ resourceUri }) => ({
      messages: [
        {
          role: 'user' as const,
          content: {
            type: 'resource' as const,
            resource: { uri: resourceUri, mimeType: 'text/plain', text: 'The embedded text.' },
          },
        },
        { role: 'user' as const, content: { type: 'text' as const, text: 'Look at the resource above.' } },
      ],
    }),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'Holds an image.' }, () =>
    user({ type: 'image', data: PNG, mimeType: 'image/png' }),
  );
  server.registerPrompt(
    'test_input_required_result_prompt',
    { description: 'Asks for its context first.' },
    // Without an argument schema the context is the only argument, which the overloads do not say.
    (context: unknown) => {
      const { mcpReq } = context as ServerContext;
      const given = acceptedContent(mcpReq.inputResponses, 'user_context')?.['context'];
      if (typeof given === 'string') return said(`Mind this context: ${given}`);
      const question = form('Which context?', { context: { type: 'string' } }, ['context']);
      return inputRequired({ inputRequests: { user_context: question } });
    },
  );
  return server.registerPrompt('sometimes', { description: 'Comes and goes.' }, () => said('Here I am.'));
}

const WORDS = ['paris', 'park', 'party', 'pasta', 'test'];

/** Completes every argument from one short list. */
export function addCompletion(server: McpServer): void {
  server.server.setRequestHandler('completion/complete', ({ params }) => {
    const values = WORDS.filter((word) => word.startsWith(params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });
}
