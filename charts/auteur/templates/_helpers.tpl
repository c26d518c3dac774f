{{/* Names. Everything of a release begins with its full name; no name is made anywhere else. */}}

{{- define "auteur.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "auteur.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "auteur.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "auteur.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A component's name: {{ include "auteur.component" (list . "nats") }} */}}
{{- define "auteur.component" -}}
{{- printf "%s-%s" (include "auteur.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{- define "auteur.selector" -}}
app.kubernetes.io/name: {{ include "auteur.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "auteur.labels" -}}
{{ include "auteur.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
app.kubernetes.io/part-of: auteur
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "auteur.metadata" -}}
name: {{ include "auteur.component" . }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "auteur.labels" . | nindent 2 }}
{{- end -}}

{{/* Pods of the operator's making, wherever they are: warm workers and attempts. */}}
{{- define "auteur.workerSelector" -}}
app.kubernetes.io/managed-by: auteur-operator
{{- end -}}

{{/* Images: {{ include "auteur.image" (list . .Values.nats.image) }} */}}
{{- define "auteur.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- if and $root.Values.images.registry (not (regexMatch "^[^/]+[.:][^/]*/" $repository)) -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $root.Values.images.registry) $repository -}}
{{- end -}}
{{- $tag := $image.tag | default $root.Values.images.tag | default $root.Chart.AppVersion -}}
{{- if $image.digest -}}
{{- printf "%s:%s@%s" $repository $tag $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository $tag -}}
{{- end -}}
{{- end -}}

{{/* Where things are. Two labels and "svc": every pod of the cluster resolves it, whatever the cluster's domain is. */}}
{{- define "auteur.natsUrl" -}}
{{- printf "nats://%s.%s.svc:4222" (include "auteur.component" (list . "nats")) .Release.Namespace -}}
{{- end -}}

{{- define "auteur.storeUrl" -}}
{{- if .Values.store.external.url -}}
{{- trimSuffix "/" .Values.store.external.url -}}
{{- else -}}
{{- printf "http://%s.%s.svc:8333" (include "auteur.component" (list . "store")) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- define "auteur.storePublicUrl" -}}
{{- $ingress := .Values.store.bundled.ingress -}}
{{- if .Values.store.publicUrl -}}
{{- trimSuffix "/" .Values.store.publicUrl -}}
{{- else if and (not .Values.store.external.url) $ingress.enabled -}}
{{- printf "%s://%s" (ternary "https" "http" (not (empty $ingress.tlsSecret))) $ingress.host -}}
{{- end -}}
{{- end -}}

{{- define "auteur.gatewayNamespace" -}}
{{- .Values.gateway.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* Secrets: the one that is named, else the one of the chart. */}}
{{- define "auteur.secretName" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $auth := index . 2 -}}
{{- $auth.existingSecret | default (include "auteur.component" (list $root $component)) -}}
{{- end -}}

{{- define "auteur.natsSecret" -}}
{{- include "auteur.secretName" (list . "nats" .Values.nats.auth) -}}
{{- end -}}

{{- define "auteur.storeSecret" -}}
{{- include "auteur.secretName" (list . "store" .Values.store.auth) -}}
{{- end -}}

{{/* A secret value, base64: what the Secret holds already, else drawn anew. A letter first: NATS reads 7e5 as a number. */}}
{{- define "auteur.drawn" -}}
{{- $root := index . 0 -}}
{{- $found := (lookup "v1" "Secret" $root.Release.Namespace (index . 1)) | default dict -}}
{{- get ($found.data | default dict) (index . 2) | default (randAlphaNum 39 | printf "%s%s" (randAlpha 1) | b64enc) -}}
{{- end -}}

{{- define "auteur.keepWithData" -}}
{{- if and .Values.persistence.enabled .Values.persistence.keep }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}
{{- end -}}

{{/* One environment variable out of a Secret: (list NAME secret key) */}}
{{- define "auteur.envFrom" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end -}}

{{- define "auteur.envOf" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* NATS, S3 and logs as every program of ours reads them: (list . "gateway") */}}
{{- define "auteur.commonEnv" -}}
{{- $root := index . 0 -}}{{- $user := index . 1 -}}
- name: AUTEUR_LOG__LEVEL
  value: {{ $root.Values.log.level }}
- name: AUTEUR_LOG__JSON_LINES
  value: "true"
{{- with $root.Values.telemetry.endpoint }}
- name: AUTEUR_TELEMETRY__ENDPOINT
  value: {{ . | quote }}
{{- end }}
- name: AUTEUR_NATS__URL
  value: {{ include "auteur.natsUrl" $root }}
- name: AUTEUR_NATS__USER
  value: {{ $user }}
{{ include "auteur.envFrom" (list "AUTEUR_NATS__PASSWORD" (include "auteur.natsSecret" $root) (printf "%s-password" $user)) }}
- name: AUTEUR_STORE__URL
  value: {{ include "auteur.storeUrl" $root }}
- name: AUTEUR_STORE__BUCKET
  value: {{ $root.Values.store.bucket }}
- name: AUTEUR_STORE__REGION
  value: {{ $root.Values.store.region }}
{{ include "auteur.envFrom" (list "AUTEUR_STORE__ACCESS_KEY" (include "auteur.storeSecret" $root) "access-key") }}
{{ include "auteur.envFrom" (list "AUTEUR_STORE__SECRET_KEY" (include "auteur.storeSecret" $root) "secret-key") }}
{{- end -}}

{{/* Pod Security Standard "restricted", and more: a root file system that nobody writes. */}}
{{- define "auteur.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "auteur.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "auteur.container" -}}
{{- $root := index . 0 -}}{{- $values := index . 1 -}}
image: {{ include "auteur.image" (list $root $values.image) | quote }}
imagePullPolicy: {{ $root.Values.images.pullPolicy }}
securityContext:
  {{- include "auteur.containerSecurity" $root | nindent 2 }}
{{- end -}}

{{/* What an administrator says of where a component's pods go: (list . "nats" .Values.nats) */}}
{{- define "auteur.placement" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $values := index . 2 -}}
{{- with $root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "auteur.selector" (list $root $component) | nindent 8 }}
{{- end -}}

{{- define "auteur.podMetadata" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $values := index . 2 -}}{{- $annotations := merge (dict) (index . 3) $values.podAnnotations -}}
labels: # none that a new version of the chart changes: what did not change is not restarted
  {{- include "auteur.selector" (list $root $component) | nindent 2 }}
  app.kubernetes.io/part-of: auteur
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A StatefulSet's volume: claimed, or as short-lived as the pod. */}}
{{- define "auteur.dataVolume" -}}
{{- if not (index . 0).Values.persistence.enabled }}
- name: data
  emptyDir:
    sizeLimit: {{ (index . 1).size }}
{{- end }}
{{- end -}}

{{- define "auteur.claimSpec" -}}
{{- $root := index . 0 -}}{{- $persistence := index . 1 -}}
accessModes: [ReadWriteOnce]
{{- with $persistence.storageClass | default $root.Values.persistence.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ $persistence.size }}
{{- end -}}

{{- define "auteur.claims" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $persistence := index . 2 -}}
{{- if $root.Values.persistence.enabled }}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: {{ ternary "Retain" "Delete" $root.Values.persistence.keep }}
  whenScaled: Retain
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      labels:
        {{- include "auteur.selector" (list $root $component) | nindent 8 }}
    spec:
      {{- include "auteur.claimSpec" (list $root $persistence) | nindent 6 }}
{{- end }}
{{- end -}}

{{/* ── network policies ── */}}

{{/* Addresses of whatever is no pod, but those at which clouds hand out a machine's credentials. The operator leaves them out
of what it is told of workers, too: auteur_operator/egress.py. */}}
{{- define "auteur.anywhere" -}}
- {{ include "auteur.ipBlock" "0.0.0.0/0" }}
- {{ include "auteur.ipBlock" "::/0" }}
{{- end -}}

{{- define "auteur.ipBlock" -}}
{{- $never := dict
  "0.0.0.0/0" (list "100.100.100.200/32" "168.63.129.16/32" "169.254.0.0/16")
  "::/0" (list "fd00:c1::a9fe:a9fe/128" "fd00:ec2::/32" "fd20:ce::254/128" "fe80::/10") -}}
{{- dict "ipBlock" (merge (dict "cidr" .) (hasKey $never . | ternary (dict "except" (get $never .)) (dict))) | toJson -}}
{{- end -}}

{{/* To whom a URL leads: (list URL .Values.networkPolicy.store). A Service of the cluster is in a namespace, whose name the
URL has; the port is the URL's own. */}}
{{- define "auteur.egressUrl" -}}
{{- $url := urlParse (index . 0) -}}{{- $told := index . 1 -}}
{{- $host := regexReplaceAll ":[0-9]+$" $url.host "" -}}
- to:
    {{- if $told.to }}
    {{- toYaml $told.to | nindent 4 }}
    {{- else if regexMatch "^([0-9]+[.]){3}[0-9]+$" $host }}
    - {{ include "auteur.ipBlock" (printf "%s/32" $host) }}
    {{- else if regexMatch "^[^.]+[.][^.]+[.]svc([.]|$)" $host }}
    - {{ include "auteur.namespacePeer" (index (splitList "." $host) 1) }}
    {{- else }}
    {{- include "auteur.anywhere" . | nindent 4 }}
    {{- end }}
  ports:
    {{- range $told.ports | default (list (include "auteur.portOf" (index . 0))) }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{- define "auteur.portOf" -}}
{{- $url := urlParse . -}}
{{- if regexMatch ":[0-9]+$" $url.host -}}
{{- regexFind "[0-9]+$" $url.host -}}
{{- else -}}
{{- ternary 443 80 (eq $url.scheme "https") -}}
{{- end -}}
{{- end -}}

{{- define "auteur.namespacePeer" -}}
{{- dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .)) | toJson -}}
{{- end -}}

{{/* A component, seen from any namespace: (list . "nats" 4222) */}}
{{- define "auteur.egressComponent" -}}
{{- $root := index . 0 -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ $root.Release.Namespace }}
      podSelector:
        matchLabels:
          {{- include "auteur.selector" . | nindent 10 }}
  ports:
    - {protocol: TCP, port: {{ index . 2 }}}
{{- end -}}

{{/* What programs and workers need alike: names, NATS, S3 and, where there is one, the collector of spans. */}}
{{- define "auteur.egress" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns.to | nindent 4 }}
  ports:
    {{- range $port := .Values.networkPolicy.dns.ports }}
    {{- range list "UDP" "TCP" }}
    - {protocol: {{ . }}, port: {{ $port }}}
    {{- end }}
    {{- end }}
{{ include "auteur.egressComponent" (list . "nats" 4222) }}
{{- if .Values.store.external.url }}
{{ include "auteur.egressUrl" (list (include "auteur.storeUrl" .) .Values.networkPolicy.store) }}
{{- else }}
{{ include "auteur.egressComponent" (list . "store" 8333) }}
{{- end }}
{{- with .Values.telemetry.endpoint }}
{{ include "auteur.egressUrl" (list . $.Values.networkPolicy.telemetry) }}
{{- end }}
{{- end -}}

{{/* ── what the schema cannot say ── */}}

{{- define "auteur.check" -}}
{{- $store := .Values.store -}}
{{- if and $store.external.url (not $store.auth.existingSecret) (not (and $store.auth.accessKey $store.auth.secretKey)) -}}
{{- fail "store.external.url names an S3 server, but nothing says with which keys: set store.auth.existingSecret (keys access-key, secret-key), or store.auth.accessKey and store.auth.secretKey" -}}
{{- end -}}
{{- if and .Values.gateway.enabled (eq .Values.database.kind "sqlite") (gt (int .Values.gateway.replicas) 1) -}}
{{- fail (printf "gateway.replicas is %d, and a database.kind of sqlite is a file with one writer: set database.kind to bundled or external, or gateway.replicas to 1" (int .Values.gateway.replicas)) -}}
{{- end -}}
{{- $external := .Values.database.external -}}
{{- if and .Values.gateway.enabled (eq .Values.database.kind "external") (not $external.url) (not $external.auth.existingSecret) -}}
{{- fail "database.kind is external, but nothing says where it is: set database.external.auth.existingSecret (key url), or database.external.url" -}}
{{- end -}}
{{- if and .Values.gateway.ingress.enabled (not .Values.gateway.ingress.host) -}}
{{- fail "gateway.ingress is enabled without a host: set gateway.ingress.host" -}}
{{- end -}}
{{- if and $store.bundled.ingress.enabled (not $store.bundled.ingress.host) -}}
{{- fail "store.bundled.ingress is enabled without a host: set store.bundled.ingress.host" -}}
{{- end -}}
{{- if and .Values.operator.namespaces .Values.gateway.enabled (not (has (include "auteur.gatewayNamespace" .) .Values.operator.namespaces)) -}}
{{- fail (printf "the API makes its jobs in namespace %q, which is not among operator.namespaces: nobody would run them. Add it, or set gateway.namespace" (include "auteur.gatewayNamespace" .)) -}}
{{- end -}}
{{- end -}}
