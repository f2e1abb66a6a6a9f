//! `proxy_register_shared_queue`, `proxy_resolve_shared_queue`, `proxy_enqueue_shared_queue`, `proxy_dequeue_shared_queue`.

use crate::{
    abi::{LogLevel, Status},
    host::Host,
    hostcalls::{Call, Outcome},
    store::queues::{self, QueueError},
    vm::State,
};

/// How many queues the plugin contexts of a plugin may wait for, all together: all of them are polled.
const MOST_QUEUES: usize = 4096;

/// The plugin context is told of messages from now on. A queue that is one too many, or that the dict has no room for, has the id 0.
pub fn register_shared_queue<H: Host>(call: &mut Call<'_, H>, name: u32, name_size: u32, queue_out: u32) -> Outcome {
    call.check_unrestricted()?;
    let (mut memory, state) = call.memory()?;
    let count: usize = state.contexts.plugins.values().map(|plugin| plugin.queues.len()).sum();
    if count >= MOST_QUEUES {
        let known = queues::resolve(state.host.dict(), &state.options.vm_id, memory.name(name, name_size)?)
            .filter(|id| state.contexts.plugin_of(state.effective).is_some_and(|plugin| plugin.queues.contains(id)));
        memory.write_u32(queue_out, known.unwrap_or(0))?;
        if known.is_none() {
            let plugin = state.options.name.clone();
            call.log(
                LogLevel::Error,
                format_args!("{}: plugin {plugin:?} waits for {count} queues, {MOST_QUEUES} are allowed", call.name),
            );
        }
        return Ok(());
    }
    let State { host, options, .. } = state;
    let name = memory.name(name, name_size)?;
    let registered = queues::register(host.dict(), &options.vm_id, options.shared_queue_limit, name);
    memory.write_u32(queue_out, registered.unwrap_or(0))?;
    match registered {
        Ok(queue) => {
            if let Some(plugin) = state.contexts.plugin_of_mut(state.effective)
                && !plugin.queues.contains(&queue)
            {
                plugin.queues.push_back(queue);
                state.host.watch_queues();
            }
        }
        Err(error) => {
            let plugin = options.name.clone();
            call.log(LogLevel::Error, format_args!("{}: plugin {plugin:?}: {error}", call.name));
        }
    }
    Ok(())
}

/// An empty `vm_id` is the plugin's own.
pub fn resolve_shared_queue<H: Host>(
    call: &mut Call<'_, H>,
    vm_id: u32,
    vm_id_size: u32,
    name: u32,
    name_size: u32,
    queue_out: u32,
) -> Outcome {
    call.check_unrestricted()?;
    let (mut memory, state) = call.memory()?;
    let vm_id = match memory.name(vm_id, vm_id_size)? {
        [] => state.options.vm_id.as_ref(),
        // No plugin has another one.
        vm_id => std::str::from_utf8(vm_id).map_err(|_| Status::NotFound)?,
    };
    let queue = queues::resolve(state.host.dict(), vm_id, memory.name(name, name_size)?).ok_or(Status::NotFound)?;
    memory.write_u32(queue_out, queue)?;
    Ok(())
}

/// What there is no room for is logged: plugins know no status for it.
pub fn enqueue_shared_queue<H: Host>(call: &mut Call<'_, H>, queue: u32, value: u32, value_size: u32) -> Outcome {
    call.check_unrestricted()?;
    let (memory, state) = call.memory()?;
    match queues::enqueue(state.host.dict(), queue, memory.bytes(value, value_size)?) {
        Ok(()) => state.host.poll_queues_soon(),
        Err(QueueError::NotFound) => return Err(Status::NotFound.into()),
        Err(error) => {
            let plugin = state.options.name.clone();
            let what = format_args!("a message of {value_size} bytes is not put into queue {queue}");
            call.log(LogLevel::Error, format_args!("{}: plugin {plugin:?}: {what}: {error}", call.name));
        }
    }
    Ok(())
}

/// A message that the guest has no memory for stays in the queue.
pub fn dequeue_shared_queue<H: Host>(call: &mut Call<'_, H>, queue: u32, pointer_out: u32, size_out: u32) -> Outcome {
    call.check_unrestricted()?;
    let host = call.state().host.clone();
    let message = match queues::dequeue(host.dict(), queue) {
        Ok(message) => message.ok_or(Status::Empty)?,
        Err(QueueError::NotFound) => return Err(Status::NotFound.into()),
        Err(error) => {
            call.log(LogLevel::Error, format_args!("{}: queue {queue}: {error}", call.name));
            return Err(Status::Empty.into());
        }
    };
    let returned = call.return_bytes(&message, pointer_out, size_out);
    if returned.is_err()
        && let Err(error) = queues::put_back(host.dict(), queue, &message)
    {
        call.log(LogLevel::Error, format_args!("{}: a message of queue {queue} is lost: {error}", call.name));
    }
    returned
}
